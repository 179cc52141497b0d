"""What a power cycle's failure is called: the contract's enum, the exact detail, and whether another try may help."""

from __future__ import annotations

import random

from hut_ci.errors import BoardError, PowerError, SlotError
from hut_ci.model import PowerResult

# detail → (result of the seed's contract, whether another try may help)
RESULTS: dict[str, tuple[str, bool]] = {
    "ok": ("ok", False),
    "unproven": ("ok", False),
    # nobody said no, but it did not happen in time
    "slow": ("timeout", True),
    "stuck": ("timeout", True),
    "cooldown": ("timeout", False),
    "deadline": ("timeout", False),
    "slot_busy": ("timeout", False),
    "group_busy": ("timeout", False),
    # the switch side
    "unreachable": ("ha_error", True),
    "server_error": ("ha_error", True),
    "busy": ("ha_error", True),
    "starting": ("ha_error", True),
    "unavailable": ("ha_error", True),
    "ignored": ("ha_error", True),
    "command_failed": ("ha_error", True),
    "not_proven": ("ha_error", True),
    # never tried twice: bad tokens lead to a ban, and a name does not become right by itself
    "unauthorized": ("ha_error", False),
    "banned": ("ha_error", False),
    "unknown_entity": ("ha_error", False),
    "bad_request": ("ha_error", False),
    "redirected": ("ha_error", False),
    "bad_answer": ("ha_error", False),
    "forbidden_entity": ("ha_error", False),
    "no_token": ("ha_error", False),
    "no_command": ("ha_error", False),
    "no_switch": ("ha_error", False),
    # our own side
    "no_witness": ("ha_error", False),
    "no_guardian": ("ha_error", False),
    "state_file": ("ha_error", False),
    "other_relay": ("ha_error", False),
    "failed": ("ha_error", False),
}


def detail_of(error: PowerError | BoardError | SlotError) -> str:
    """The key of RESULTS for an error: its `detail` field, or what its class says."""
    if not isinstance(error, PowerError):
        return "no_witness"  # the port of a banner proof cannot be opened, or broke
    detail = error.fields.get("detail", "failed")
    return detail if detail in RESULTS else "failed"


def may_retry(error: PowerError | BoardError | SlotError) -> bool:
    return RESULTS[detail_of(error)][1]


def failure(error: PowerError | BoardError | SlotError, seconds: float, tries: int = 1) -> PowerResult:
    """The structured result that an error stands for."""
    detail = detail_of(error)
    text = error.what if tries == 1 else f"{error.what} ({tries} tries)"
    return PowerResult(RESULTS[detail][0], detail, proven=False, seconds=round(seconds, 3), text=text)


def pause_before_retry(error: PowerError | BoardError | SlotError, number: int) -> float:
    """Seconds to wait after the `number`-th failure (from 1): Retry-After, or doubling with jitter up to 5 s."""
    if after := error.fields.get("retry_after"):
        return min(float(after), 60.0)
    return min(0.2 * 2.0 ** (number - 1), 5.0) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, not a secret)
