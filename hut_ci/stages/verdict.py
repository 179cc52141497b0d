"""Evidence → verdict, by the one table in `evidence.yml`; and the second attempt's `flaky` and `recovered` marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hut_ci import tables
from hut_ci.model import Evidence, RecoveryEvent, Step, Verdict, VerdictName


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the evidence table; `next` holds the steps that may follow, weakest first."""

    id: str
    blame: str
    verdict: VerdictName
    exit: int
    next: tuple[Step, ...]
    sentence: str
    timed_out: bool = False


@cache
def table() -> Mapping[str, Row]:
    """The rows of `evidence.yml` by id."""
    rows = tables.rows(Path(__file__).with_name("evidence.yml"), "rows")
    return {name: _row(name, entry) for name, entry in rows.items()}


def _row(name: str, entry: Mapping[str, object]) -> Row:
    values = dict(entry)
    steps = values.pop("next")
    assert isinstance(steps, list)
    return Row(
        id=name,
        verdict=VerdictName(str(values.pop("verdict"))),
        next=tuple(Step(step) for step in steps),
        **values,  # type: ignore[arg-type]  # the table's keys are the fields; a test loads every row
    )


class _Blanks(dict[str, str]):
    """A sentence must come out even where a field is missing: the gap shows as `?`."""

    def __missing__(self, key: str) -> str:
        return "?"


def sentence(evidence: Evidence) -> str:
    """The status text of `evidence`, before any forge's length limit."""
    return " ".join(table()[evidence.id].sentence.format_map(_Blanks(evidence.fields)).split())


def judge(evidence: Evidence, *, recovery: Sequence[RecoveryEvent] = (), firmware_failures: int = 0) -> Verdict:
    """The verdict of a run that ended with `evidence` after `recovery` steps.

    `firmware_failures` counts earlier attempts that the firmware failed: a pass after them is `flaky`.
    """
    row = table()[evidence.id]
    passed = row.verdict is VerdictName.PASS
    steps = [event for event in recovery if not event.restoring and event.step != "retry"]
    return Verdict(
        name=row.verdict,
        exit_code=_exit_code(row, evidence),
        sentence=sentence(evidence),
        evidence=evidence,
        recovered=passed and bool(steps),
        flaky=passed and firmware_failures > 0,
        timed_out=row.timed_out,
    )


def _exit_code(row: Row, evidence: Evidence) -> int:
    if row.id == "cancelled":
        return 128 + int(evidence.fields.get("signal", "2"))
    return row.exit
