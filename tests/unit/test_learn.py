"""Expectations proposed from good boots."""

from __future__ import annotations

import yaml

from hut_ci.model import Expect, Suite
from hut_ci.stages.compiled_suite import compile_suite
from hut_ci.stages.learn import propose, to_yaml
from hut_ci.stages.suite_state import SuiteState

BOOT = """\
   0.010 ets Jul 29 2019 12:21:46
   0.010 rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)
   0.030 I (27) boot: ESP-IDF v4.3.5 2nd stage bootloader
   0.400 I (423) cpu_start: Pro cpu up.
   0.410 I (424) heap_init: At 3FFAE6E0 len 00001920 (6 KiB): DRAM
   0.600 I ({0}) main_task: Calling app_main()
   1.200 I (1204) esp_app_main: Starting app_main
   1.300 W (1301) config: Value not found for key fwurl
   1.400 I (1402) net: MAC 24:6f:28:00:00:{1}, buffer at 0x3ffb{0}
   2.{0} I (2{0}) services: 3 services started (took {0} ms)
   2.950 [00:21:11.{0}] stream_init:539 init stream
   3.000 ****************************
   4.000 player>
"""
LOGS = [BOOT.format(number, pair).splitlines() for number, pair in (("112", "0a"), ("734", "0b"), ("555", "c0"))]


def passes(expect: tuple[Expect, ...], log: list[str]) -> bool:
    state = SuiteState(compile_suite(Suite(expect=expect)))
    for line in log:
        state.feed(line[9:], float(line[:9]))
    return state.evidence is not None and state.evidence.id == "passed"


def test_what_is_proposed_passes_on_every_boot_it_was_learnt_from() -> None:
    expect = propose(LOGS)
    assert 3 <= len(expect) <= 6
    assert all(passes(expect, log) for log in LOGS)


def test_milestones_and_prompts_are_chosen_and_noise_is_not() -> None:
    lines = [step.line for step in propose(LOGS)]
    assert "esp_app_main: Starting app_main" in lines
    assert "player>" in lines
    assert r"services: \d[\d.:,]* services started \(took \d[\d.:,]* ms\)" in lines
    assert not [line for line in lines if "heap_init" in (line or "") or "boot:" in (line or "")]


def test_a_boot_that_lacks_a_line_takes_it_out() -> None:
    shorter = [line for line in LOGS[1] if "Starting app_main" not in line]
    assert "esp_app_main: Starting app_main" not in [step.line for step in propose([LOGS[0], shorter])]


def test_lines_that_change_places_are_not_both_proposed() -> None:
    swapped = [line for line in LOGS[0] if "player>" not in line]
    swapped.insert(6, "   1.100 player>")
    expect = propose([LOGS[0], swapped])
    assert all(passes(expect, log) for log in (LOGS[0], swapped))


def test_time_limits_are_three_times_the_slowest_and_at_least_five_seconds() -> None:
    head = ["   0.010 rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)", "   0.100 I (1) cpu_start: Pro cpu up."]
    logs = [[*head, "   0.500 I (1) app: mounted ok", f"  {at}.500 I (1) app: all services ready"] for at in (10, 12)]
    assert [(step.line, step.within) for step in propose(logs)][-2:] == [
        ("app: mounted ok", 5.0),
        ("app: all services ready", 36.0),
    ]


def test_boots_with_nothing_in_common_propose_nothing() -> None:
    assert propose([]) == ()
    assert propose([LOGS[0], []]) == ()


def test_the_yaml_reads_back_as_what_was_proposed() -> None:
    expect = (Expect("it's \\d+ #1: [x]", 5.0), *propose(LOGS))
    read = yaml.safe_load(to_yaml(expect))["suite"]["expect"]
    assert [(step["line"], step["within"]) for step in read] == [(step.line, step.within) for step in expect]
    assert yaml.safe_load(to_yaml(())) == {"suite": {"expect": []}}


def test_the_projects_own_lines_come_before_those_of_the_system() -> None:
    """Six generic lines of ESP-IDF's start must not crowd out the line that says what this firmware is for."""
    system = ["cpu_start: Pro cpu up.", "cpu_start: Pro cpu start user code", "main_task: Started on CPU0"]
    system += ["main_task: Calling app_main()", "wifi:new:<6,0>", "heap_init: init done", "spi_flash: ready"]
    own = ["network: got 192.168.1.17", "player: queue of 4 slots"]
    rows = ["rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)", *(f"I (1) {text}" for text in system + own)]
    lines = [step.line for step in propose([[f"   0.{at:03} {row}" for at, row in enumerate(rows)]] * 3)]
    assert lines[-2:] == [r"network: got \d[\d.:,]*", r"player: queue of \d[\d.:,]* slots"]
    assert lines[:-2] == [r"main_task: Calling app_main\(\)"]


def test_a_firmware_that_says_nothing_gets_a_few_lines_of_the_system() -> None:
    rows = ["rst:0x1 (POWERON_RESET)", *(f"I (1) cpu_start: step {word}" for word in ("one", "two", "three", "four"))]
    assert len(propose([[f"   0.{at:03} {row}" for at, row in enumerate(rows)]] * 2)) == 3
