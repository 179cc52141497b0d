"""The evidence table is the product's judgement: every row is walked here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hut_ci
from hut_ci import errors
from hut_ci.model import Evidence, RecoveryEvent, Step, VerdictName
from hut_ci.stages.recover import LIMITS, next_step
from hut_ci.stages.verdict import judge, sentence, table

ROWS = sorted(table())
SOURCE = Path(hut_ci.__file__).parent
EXITS = {
    VerdictName.PASS: {0},
    VerdictName.FAIL: {1},
    VerdictName.ERROR: {2, 3, 5, 6, 7, 8, 9, 70},
    VerdictName.BLOCKED: {4},
    VerdictName.CANCELLED: {130},
}


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_consistent(name: str) -> None:
    row = table()[name]
    assert row.blame in {"firmware", "lab", "config", "nobody"}
    assert row.exit in EXITS[row.verdict]
    assert (row.blame == "firmware") == (row.verdict is VerdictName.FAIL)


@pytest.mark.parametrize("name", ROWS)
def test_only_lab_errors_buy_another_attempt(name: str) -> None:
    """Firmware evidence is final; so is everything that another try cannot change (design decision 6)."""
    row = table()[name]
    if row.next:
        assert row.blame == "lab"
        assert row.verdict is VerdictName.ERROR
        assert list(row.next) == sorted(row.next, key=list(Step).index), "weakest step first"


@pytest.mark.parametrize("name", ROWS)
def test_a_sentence_says_more_than_failed(name: str) -> None:
    names = re.findall(r"{(\w+)}", table()[name].sentence)
    text = sentence(Evidence(name, dict.fromkeys(names, "x")))
    assert "?" not in text
    assert text.lower() not in {"failed", "error", "fail"}
    assert name == "passed" or len(text.split()) >= 2


def test_only_a_passed_suite_is_green() -> None:
    """security 23: nothing but a passed suite is ever a pass, or, where that was asked for, the note of one."""
    assert [name for name in ROWS if table()[name].verdict is VerdictName.PASS] == ["already_passed", "passed"]


def test_every_evidence_named_in_the_code_has_a_row() -> None:
    named: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        named |= set(
            re.findall(r"""(?:Evidence\(|evidence=|evidence_default = )["'](\w+)["']""", file.read_text("utf-8"))
        )
    assert len(named) > 10, "the search pattern no longer finds them"
    assert named <= set(ROWS)


@pytest.mark.parametrize(
    "error", [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.HutCiError)]
)
def test_an_error_class_and_its_row_agree(error: type[errors.HutCiError]) -> None:
    row = table()[error.evidence_default]
    if error is not errors.Cancelled:
        assert row.exit == error.exit_code


def test_a_missing_field_still_gives_a_sentence() -> None:
    assert sentence(Evidence("missing_line", {"within": "5"})) == "expected line not seen within 5 s: ?"


@given(st.lists(st.sampled_from(ROWS), max_size=40), st.sets(st.sampled_from(list(Step))))
def test_the_ladder_is_bounded_whatever_is_seen(seen: list[str], available: set[Step]) -> None:
    history: list[Step] = []
    for name in seen:
        step = next_step(Evidence(name), history, available)
        if step is None:
            break
        assert step in available
        assert step in table()[name].next
        history.append(step)
    assert len(history) <= sum(LIMITS.values())


def test_the_ladder_climbs() -> None:
    everything = set(Step)
    taken: list[Step] = []
    while (step := next_step(Evidence("silence"), taken, everything)) is not None:
        taken.append(step)
    assert taken == [Step.RESET, Step.POWER_CYCLE, Step.GOLDEN]


def test_recovery_shows_in_a_pass_only() -> None:
    event = RecoveryEvent("power_cycle", "", 1.0, "passed", "silence")
    assert judge(Evidence("passed", {"summary": "boots"}), recovery=[event]).recovered
    assert not judge(Evidence("panic"), recovery=[event]).recovered


def test_a_pass_after_a_firmware_failure_is_flaky() -> None:
    event = RecoveryEvent("retry", "", 1.0, "passed", "panic")
    verdict = judge(Evidence("passed", {"summary": "boots"}), recovery=[event], firmware_failures=1)
    assert verdict.flaky
    assert not verdict.recovered


@pytest.mark.parametrize(("signal", "code"), [("2", 130), ("15", 143)])
def test_a_cancelled_run_exits_by_its_signal(signal: str, code: int) -> None:
    assert judge(Evidence("cancelled", {"signal": signal})).exit_code == code
