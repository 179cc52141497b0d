"""Several slots' reports as one status: the worst of those that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hut_ci.reports import states
from hut_ci.reports.escaping import plain
from hut_ci.reports.status_text import full_status

# Worst first. A firmware that failed on one board failed, whatever the lab did on the others; a lab that failed is
# worse than one that was busy, because nothing is known of the firmware.
ORDER = ("fail", "error", "timed_out", "blocked", "cancelled", "running", "flaky", "recovered", "pass")


@dataclass(frozen=True, slots=True)
class Result:
    """How one slot ended: `key` is a row of states.yml, `sentence` its status text; without a report it is `error`."""

    slot: str
    key: str
    sentence: str
    informational: bool = False
    document: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    key: str
    sentence: str


def result(
    slot: str, document: Mapping[str, Any] | None, refused: str | None, *, informational: bool = False
) -> Result:
    """One slot's result from its report, or from why that report is not believed."""
    if document is None or refused is not None:
        return Result(slot, "error", f"lab error: {plain(refused or 'there is no report')}", informational)
    verdict = document["hardware"]["verdict"]
    return Result(slot, states.key(verdict), full_status(document), informational, document)


def whole(results: Sequence[Result]) -> Whole:
    """The status of all: the worst that counts; where only informational slots ran, they count."""
    counted = [entry for entry in results if not entry.informational] or list(results)
    if not counted:
        return Whole("error", "lab error: no slot was tested")
    worst = min(counted, key=lambda entry: ORDER.index(entry.key))
    passed = sum(states.table()[entry.key].ws2 == "success" for entry in counted)
    head = f"{passed} of {len(counted)} slots pass"
    informational = [entry for entry in results if entry.informational and entry not in counted]
    tail = "".join(f"; {entry.slot} (informational): {entry.key}" for entry in informational)
    if states.table()[worst.key].ws2 == "success":
        special = [f"{entry.slot} {entry.key}" for entry in counted if entry.key in ("flaky", "recovered")]
        return Whole(worst.key, head + (f" ({', '.join(special)})" if special else "") + tail)
    return Whole(worst.key, f"{head}; {worst.slot}: {worst.sentence}{tail}")
