"""Boot logs into evidence: every file of data/bootlogs is a case, and the rules of the state machine beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.board.console_text import clean
from hut_ci.errors import ConfigError
from hut_ci.model import Evidence, Expect, Forbid, Partition, Suite
from hut_ci.stages.compiled_suite import CompiledSuite, compile_suite
from hut_ci.stages.forbidden import ForbiddenLines, built_in_rules
from hut_ci.stages.suite import cases
from hut_ci.stages.suite_state import SuiteState, Timing
from hut_ci.stages.verdict import sentence, table

LOGS = sorted((Path(__file__).parent.parent / "data" / "bootlogs").glob("*.txt"))
TIMED = re.compile(r"^ *(\d+\.\d{3}) (.*)$")
ROM = "rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"
APP = "I (423) cpu_start: Project name:     demo"


@dataclass(frozen=True, slots=True)
class BootLogFile:
    head: dict[str, Any]
    lines: tuple[tuple[float, str], ...]


def read_log(path: Path) -> BootLogFile:
    text = path.read_text("utf-8").splitlines()
    head = yaml.safe_load("\n".join(line.removeprefix("#: ") for line in text if line.startswith("#:")))
    return BootLogFile(head, tuple(timed(line for line in text if not line.startswith("#:"))))


def timed(lines: Iterator[str]) -> Iterator[tuple[float, str]]:
    at = 0.0
    for line in lines:
        match = TIMED.match(line)
        at, words = (float(match[1]), match[2]) if match else (round(at + 0.01, 3), line)
        raw = re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), words.replace(r"\e", "\x1b"))
        yield at, clean(raw.encode("latin-1"))


def suite_of(head: dict[str, Any]) -> Suite:
    settings = dict(head.get("suite", {}))
    return Suite(
        expect=tuple(Expect(**step) for step in settings.pop("expect", [])),
        forbid=tuple(Forbid(**rule) for rule in settings.pop("forbid", [])),
        off=frozenset(settings.pop("off", [])),
        **settings,
    )


def play(state: SuiteState, lines: tuple[tuple[float, str], ...], until: float = 60.0) -> Evidence:
    """Feed every line at its time, look at the time-outs every 50 ms like the real loop, and wait for the end."""
    now = 0.0
    for at, line in lines:
        while now + 0.05 < at and state.evidence is None:
            now = round(now + 0.05, 3)
            state.tick(now)
        state.saw_bytes(at)
        state.feed(line, at)
        state.tick(at)
    while state.evidence is None and now < until:
        now = round(now + 0.05, 3)
        state.tick(now)
    assert state.evidence is not None, "undecided after a minute"
    return state.evidence


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_a_boot_log_file(path: Path) -> None:
    log = read_log(path)
    head = log.head
    partitions = tuple(Partition(label, "app", sub, at, 0x100000) for label, sub, at in head.get("partitions", []))
    compiled = compile_suite(suite_of(head))
    state = SuiteState(compiled, partitions)
    evidence = play(state, log.lines)
    assert evidence.id == head["evidence"], evidence
    assert {key: evidence.fields.get(key) for key in head.get("fields", {})} == head.get("fields", {})
    assert {key: getattr(state.boot, key) for key in head.get("boot", {})} == head.get("boot", {})
    assert state.reboots == head.get("reboots", state.reboots)
    names = set(re.findall(r"{(\w+)}", table()[evidence.id].sentence))
    assert set(evidence.fields) == names, "the fields are exactly those of the row's sentence"
    assert sentence(evidence)
    outcomes = [case.outcome for case in cases(compiled, state, evidence)]
    expected = {"fail": "fail", "error": "error", "pass": "pass"}[table()[evidence.id].verdict]
    assert (set(outcomes) == {"pass"}) == (expected == "pass")
    assert expected in outcomes


def run(suite: Suite, *lines: tuple[float, str], timing: Timing | None = None) -> tuple[Evidence, SuiteState]:
    state = SuiteState(compile_suite(suite), timing=timing)
    return play(state, lines), state


def decided(state: SuiteState) -> bool:
    return state.evidence is not None


def case_outcomes(suite: Suite, *lines: tuple[float, str]) -> list[tuple[str, str]]:
    compiled: CompiledSuite = compile_suite(suite)
    state = SuiteState(compiled)
    evidence = play(state, lines)
    return [(case.name, case.outcome) for case in cases(compiled, state, evidence)]


# --- expectations ---------------------------------------------------------------------------------------------


def test_expectations_are_ordered() -> None:
    suite = Suite(expect=(Expect("one", 2), Expect("two", 2)))
    evidence, _ = run(suite, (0.1, ROM), (0.2, APP), (0.3, "two"), (0.4, "one"), (2.0, "three"))
    assert evidence == Evidence("missing_line", {"within": "2", "expected": "two"})


def test_each_expectation_has_its_own_time_since_the_last_match() -> None:
    suite = Suite(expect=(Expect("one", 2), Expect("two", 2), Expect("three", 2)))
    evidence, state = run(suite, (0.1, ROM), (0.2, APP), (1.9, "one"), (3.8, "two"), (5.7, "three"))
    assert evidence.fields["summary"] == "3 of 3 expected lines, boots: demo"
    assert state.met == pytest.approx((1.9, 1.9, 1.9))


def test_the_run_ends_with_the_last_expectation_and_not_later() -> None:
    state = SuiteState(compile_suite(Suite(expect=(Expect("one"),))))
    state.feed(ROM, 0.1)
    state.feed(APP, 0.2)
    assert not decided(state)
    state.feed("one", 0.3)
    assert decided(state)


@pytest.mark.parametrize(
    "expect",
    [(Expect("rst:0x"),), (Expect("2nd stage"),), (Expect("."),), (Expect(None, send="x"),)],
    ids=["rom", "bootloader", "anything", "send_only"],
)
def test_what_comes_before_the_application_is_no_pass(expect: tuple[Expect, ...]) -> None:
    """security 23: the application has to start, and stay healthy, where no step heard it."""
    suite, loader = Suite(expect=expect), (0.2, "I (27) boot: ESP-IDF v5.1.6 2nd stage bootloader")
    assert run(suite)[0].id == "silence"
    assert run(suite, (0.1, ROM), loader)[0].id == "no_app"
    assert run(suite, (0.1, ROM), loader, (0.3, APP), (0.4, "abort() was called at PC 0x1 on core 0"))[0].id == "abort"
    evidence, state = run(suite, (0.1, ROM), loader, (0.3, APP))
    assert (evidence.id, len(state.met)) == ("passed", 1)


@pytest.mark.parametrize("expect", [(), (Expect("ready"),)], ids=["built_in_rules", "expectation"])
def test_an_application_that_was_on_the_chip_before_is_no_pass(expect: tuple[Expect, ...]) -> None:
    """security 23: an otadata of an earlier run chose it; a suite that names the application decides for itself."""
    partitions = (Partition("factory", "app", "factory", 0x10000, 1 << 20), Partition("b", "app", "ota_0", 0x110000, 1))
    lines = ((0.1, ROM), (0.2, "I (9) esp_image: segment 0: paddr=00110020 vaddr=3f400020 size=9h map"), (0.3, APP))

    def evidence(written: set[int], **settings: Any) -> Evidence:
        suite = compile_suite(Suite(expect=expect, **settings))
        return play(SuiteState(suite, partitions, written=written), (*lines, (0.4, "I (430) app: ready")))

    old = evidence({0x10000})
    assert old.id == "wrong_app"
    assert "booted is b (ota_0), which was not flashed, required is factory" in sentence(old)
    assert evidence({0x10000, 0x110000}).id == "passed"
    assert evidence(set()).id == "passed", "a plan without an application"
    assert evidence({0x10000}, require={"app": "b"}).id == "passed"


def test_one_line_meets_a_repeated_expectation_once() -> None:
    suite = Suite(expect=(Expect("pong", 3), Expect("pong", 3)))
    evidence, _ = run(suite, (0.1, ROM), (0.2, APP), (0.3, "pong"), (2.9, "alive"), (3.2, "alive"))
    assert evidence.id == "missing_line"


def test_a_prompt_without_an_end_is_matched_and_the_rest_of_its_line_later() -> None:
    suite = Suite(expect=(Expect("player>", send="help"), Expect("commands:")))
    state = SuiteState(compile_suite(suite))
    state.feed(ROM, 0.1)
    state.feed(APP, 0.2)
    assert state.feed_partial("player>", 0.3) == b"help\n"
    assert state.feed_partial("player>", 0.4) == b"", "the same prompt is not met twice"
    assert state.feed("player> commands: help, reset", 0.5) == b""
    assert state.evidence is not None
    assert state.evidence.id == "passed"


def test_a_step_without_a_line_sends_at_once_and_newlines_are_added_once() -> None:
    suite = Suite(expect=(Expect("ready", send="a\n"), Expect(None, send="b"), Expect("done")))
    state = SuiteState(compile_suite(suite))
    state.feed(ROM, 0.1)
    state.feed(APP, 0.2)
    assert state.feed("ready", 0.3) == b"a\nb\n"
    assert state.tick(0.4) == b""
    state.feed("done", 0.5)
    assert state.evidence is not None
    assert state.evidence.id == "passed"


def test_sub_second_times_can_tell_a_hang() -> None:
    suite = Suite(expect=(Expect("ready", 0.4),))
    evidence, _ = run(suite, (0.05, ROM), (0.1, APP), timing=Timing(hang=0.2))
    assert evidence.id == "hang"


def test_a_forbidden_line_wins_over_a_match_in_the_same_line() -> None:
    suite = Suite(expect=(Expect("Guru"),))
    evidence, _ = run(suite, (0.1, ROM), (0.2, APP), (0.3, "Guru Meditation Error: Core  0 panic'ed (X)."))
    assert evidence.id == "panic"


def test_the_deadline_of_the_run_is_lab_evidence_unless_a_crash_is_known() -> None:
    """WS2: an expired run is a time-out, not a verdict on the firmware."""
    state = SuiteState(compile_suite(Suite(expect=(Expect("never", 100),))))
    state.feed(ROM, 0.1)
    state.feed(APP, 0.2)
    state.out_of_time(30.0)
    assert state.evidence == Evidence("suite_deadline", {"limit": "30"})
    crashed = SuiteState(compile_suite(Suite()))
    crashed.feed(ROM, 0.1)
    crashed.feed("abort() was called at PC 0x40081234 on core 0", 0.2)
    crashed.out_of_time(30.0)
    assert crashed.evidence == Evidence("abort", {"where": "PC 0x40081234", "seconds": "0.1"})


def test_a_healthy_boot_has_to_last_as_long_as_it_says() -> None:
    evidence, _ = run(Suite(settle=3), (0.1, ROM), (0.2, APP), (3.1, "abort() was called at PC 0x1 on core 0"))
    assert evidence.id == "abort"
    evidence, _ = run(Suite(settle=3), (0.1, ROM), (0.2, APP), (3.3, "abort() was called at PC 0x1 on core 0"))
    assert evidence.id == "passed"


def test_required_elf_digest_is_compared_over_what_the_board_prints() -> None:
    printed = "I (689) cpu_start: ELF file SHA256:  3f2a9c11d..."
    for required, verdict in (("3F2A9C11D0E4" + "0" * 52, "passed"), ("3f2a9c11e" + "0" * 55, "wrong_app")):
        suite = Suite(require={"elf_sha256": required}, settle=0.5)
        assert run(suite, (0.1, ROM), (0.2, APP), (0.3, printed))[0].id == verdict


def test_all_zero_elf_digest_identifies_nothing() -> None:
    suite = Suite(require={"elf_sha256": "0" * 64}, settle=0.5)
    printed = "I (689) cpu_start: ELF file SHA256:  0000000000000000..."
    assert run(suite, (0.1, ROM), (0.2, APP), (0.3, printed))[0].id == "wrong_app"


# --- cases ----------------------------------------------------------------------------------------------------


def test_unmet_later_expectations_are_skipped() -> None:
    suite = Suite(expect=(Expect("one", name="first"), Expect("two"), Expect(None, send="x"), Expect("three")))
    assert case_outcomes(suite, (0.1, ROM), (0.2, APP), (0.3, "one"), (9.9, "alive")) == [
        ("boots", "pass"),
        ("no forbidden line", "pass"),
        ("first", "pass"),
        ("two", "fail"),
        ("send x", "skipped"),
        ("three", "skipped"),
    ]


def test_a_silent_board_is_an_error_and_nothing_is_passed() -> None:
    assert case_outcomes(Suite(expect=(Expect("one"),))) == [
        ("boots", "error"),
        ("no forbidden line", "skipped"),
        ("one", "skipped"),
    ]


def test_a_panic_fails_the_forbidden_lines_and_skips_the_rest() -> None:
    lines = (0.1, ROM), (0.2, APP), (0.3, "Guru Meditation Error: Core  0 panic'ed (IllegalInstruction).")
    assert case_outcomes(Suite(expect=(Expect("one"),)), *lines) == [
        ("boots", "pass"),
        ("no forbidden line", "fail"),
        ("one", "skipped"),
    ]


# --- rules and patterns ----------------------------------------------------------------------------------------


def test_every_built_in_rule_names_a_row_of_the_evidence_table() -> None:
    for rule in built_in_rules():
        assert table()[rule.evidence].blame == "firmware", rule.name
        assert rule.means


@pytest.mark.parametrize("rule", [rule.name for rule in built_in_rules()])
def test_every_built_in_rule_can_be_switched_off(rule: str) -> None:
    assert rule not in {kept.name for kept in ForbiddenLines(Suite(off=frozenset({rule}))).rules}


def test_switching_off_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="brown_out") as refused:
        ForbiddenLines(Suite(off=frozenset({"brown_out"})))
    assert refused.value.todo == "did you mean 'brownout'?"


def test_a_rule_of_the_project_cannot_take_a_built_in_name() -> None:
    with pytest.raises(ConfigError, match="built-in"):
        ForbiddenLines(Suite(forbid=(Forbid("panic", "x"),)))


@pytest.mark.parametrize("pattern", [r"(a)\1", r"(?=a)", r"(?<!a)b", "[", "a{5000}", "x" * 3000, "(" * 2500])
def test_a_pattern_that_re2_does_not_take_is_refused_with_advice(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """security 25"""
    with pytest.raises(ConfigError, match=r"suite\.expect 1") as refused:
        compile_suite(Suite(expect=(Expect(pattern),)))
    assert refused.value.todo
    assert capfd.readouterr().err == "", "RE2 prints nothing of its own"


def test_an_unknown_requirement_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        compile_suite(Suite(require={"colour": "red"}))


def test_a_catastrophic_pattern_takes_no_time() -> None:
    """security 25: with a backtracking engine this line alone would take longer than the universe is old."""
    suite = Suite(expect=(Expect(r"(a+)+$", 5),), forbid=(Forbid("bad", r"(x|x)*y(a|aa)+$"),), boot_within=5)
    hostile = "a" * 4000 + "!"
    evidence, _ = run(suite, (0.1, ROM), (0.2, APP), *((0.3 + n / 100, hostile) for n in range(50)))
    assert evidence.id == "hang"


@given(st.lists(st.text(max_size=200), max_size=30))
def test_whatever_a_board_prints_is_survived_and_never_a_pass_without_an_app(lines: list[str]) -> None:
    state = SuiteState(compile_suite(Suite(expect=(Expect("never printed"),))))
    evidence = play(
        state, tuple((number / 10, clean(line.encode("utf-8", "replace"))) for number, line in enumerate(lines))
    )
    assert evidence.id != "passed"
    assert sentence(evidence)
