"""What a wait that was in vain says of itself."""

from __future__ import annotations

import pytest

from hut_ci.claims.waiting import first_free
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(600.0, "600 s"), (59.99999, "60 s"), (1.0, "1 s"), (1.5, "1.5 s"), (0.1, "0.1 s"), (0.0999, "0.1 s")],
)
def test_the_length_of_the_wait_is_told(seconds: float, said: str) -> None:
    """A short wait is no wait of 0 s."""
    now = [0.0]
    deadline = Deadline(seconds, lambda: now[0])
    now[0] = seconds + 1
    with pytest.raises(SlotError) as refused:
        first_free([], deadline, None)
    assert refused.value.why == f"it was not released within {said}"


def test_who_does_not_wait_is_told_of_no_wait() -> None:
    with pytest.raises(SlotError) as refused:
        first_free([], Deadline(0), None)
    assert refused.value.why == ""
