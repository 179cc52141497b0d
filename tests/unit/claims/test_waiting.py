"""What a wait that was in vain says of itself."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from pathlib import Path

import pytest

from hut_ci.claims import tickets
from hut_ci.claims.safe_files import inner_folder, lock_folder
from hut_ci.claims.waiting import PASS_SECONDS, first_free, place
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Holder, Slot


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


WAITER = Holder(pid=1, user="alice", host="bench", since_utc="")


def test_whoever_was_passed_over_stands_at_the_end_again(tmp_path: Path) -> None:
    """A waiter that is not late keeps its place; one that is gets a new one, and nobody else's is lost by that."""
    with lock_folder(tmp_path, create=False) as folder, inner_folder(folder, "hut-01.queue", create=True) as queue:
        with tickets.ticket(queue, WAITER) as first, tickets.ticket(queue, WAITER) as second:
            assert not second.pass_over(late=False)
            assert (first.place(), second.place()) == (1, 2)
            assert second.pass_over(late=True)
            assert second.is_next()
            assert not first.is_next()
            assert (first.place(), second.place()) == (2, 1)
        assert list(tickets.waiting(queue)) == []


def test_whoever_is_far_from_the_head_looks_less_often(tmp_path: Path) -> None:
    """A crowd would take the holder's cores; whoever is near the head is served at once."""
    slot = Slot("hut-01", "esp32-hut-01", ())
    with lock_folder(tmp_path, create=False) as folder, ExitStack() as standing:
        places = [standing.enter_context(place(folder, slot, WAITER)) for _ in range(31)]
        assert [places[number].patience() for number in (0, 10, 30)] == [1.0, 1.0, 3.0]


def test_a_number_at_the_end_of_all_numbers_turns_no_order_round(tmp_path: Path) -> None:
    """A member of the lab can write any ticket, and keep it: what comes after the last number is still after it."""
    with (
        lock_folder(tmp_path, create=False) as folder,
        inner_folder(folder, "hut-01.queue", create=True) as queue,
        tickets.ticket(queue, WAITER) as first,
        (folder.path / "hut-01.queue" / "99999999.ticket").open("w") as kept,
    ):
        (folder.path / "hut-01.queue" / "99999999.ticket").chmod(0o660)
        fcntl.flock(kept, fcntl.LOCK_EX)
        with tickets.ticket(queue, WAITER) as second, tickets.ticket(queue, WAITER) as third:
            assert [ticket.place() for ticket in (first, second, third)] == [1, 2, 3]
            assert (first.is_next(), second.is_next(), third.is_next()) == (True, False, False)
            assert len(list(tickets.waiting(queue))) == 3


def test_whoever_stands_near_the_end_of_all_numbers_stands_anew(tmp_path: Path) -> None:
    """Behind a ticket that somebody wrote there: whoever comes after it loses the place at worst."""
    with lock_folder(tmp_path, create=False) as folder, inner_folder(folder, "hut-01.queue", create=True) as queue:
        path = folder.path / "hut-01.queue" / "99999998.ticket"
        with path.open("w") as kept:
            path.chmod(0o660)
            fcntl.flock(kept, fcntl.LOCK_EX)
            with tickets.ticket(queue, WAITER) as first, tickets.ticket(queue, WAITER) as second:
                assert not path.exists()
                assert (second.is_next(), first.is_next()) == (True, False)
                assert (second.place(), first.place()) == (1, 2)
            with tickets.ticket(queue, WAITER) as third:
                assert third.is_next()


@pytest.mark.real
def test_a_waiter_that_hangs_is_passed_over_in_time(tmp_path: Path) -> None:
    """Not stopped as far as the kernel can tell, but it never looks: the next one waits PASS_SECONDS, not for ever."""
    slot = Slot("hut-01", "esp32-hut-01", ())
    with (
        lock_folder(tmp_path, create=False) as folder,
        place(folder, slot, WAITER),
        place(folder, slot, WAITER) as ours,
    ):
        waited = Deadline(3 * PASS_SECONDS)
        assert first_free([ours], waited, None) is ours
        assert PASS_SECONDS <= waited.elapsed < 2 * PASS_SECONDS
