"""A crowd before one slot: served in order of arrival, never two at once, nobody forgotten, whoever is killed."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from slowness import slowness
from storm import Waiter, storm

from hut_ci.virtual.board import VirtualBoard

SEED = int(os.environ.get("HUT_CI_SOAK_SEED", str(random.SystemRandom().randrange(1 << 32))))


def two_users() -> tuple[str, str, int] | None:
    """Two users other than root with one primary group, and its number; None where we cannot become them."""
    members: dict[int, list[str]] = defaultdict(list)
    for user in pwd.getpwall():
        if user.pw_uid:
            members[user.pw_gid].append(user.pw_name)
    found = next(((names[0], names[1], gid) for gid, names in members.items() if len(names) > 1), None)
    return found if os.geteuid() == 0 else None


@pytest.fixture
def shared() -> Iterator[Path]:
    """A setgid folder of a lab group where there are two users, else one of our own; pytest's are private."""
    folder = Path(tempfile.mkdtemp(prefix="storm-"))
    users = two_users()
    if users:
        folder.chmod(0o711)
    locks = folder / "locks"
    locks.mkdir(0o700)
    if users:
        os.chown(locks, 0, users[2])
        locks.chmod(0o2770)
    yield locks
    shutil.rmtree(folder)


def users() -> Sequence[str | None]:
    found = two_users()
    return found[:2] if found else (None,)


@pytest.mark.real
def test_twenty_waiters_of_two_users(shared: Path) -> None:
    """WS8-6, WS9-8: in order of arrival, with the board as the witness; two of them die while they hold."""
    outcome = storm(shared, 20, users(), kills=2, seed=7)
    assert outcome.served == tuple(range(20))
    assert max(outcome.hand_overs) < 5.0 or max(outcome.hand_overs) < 5.0 * slowness()


def test_the_witness_can_tell(shared: Path) -> None:
    """The negative control: two lock folders exclude nobody, and the board sees it."""
    apart = [shared / "a", shared / "b"]
    with VirtualBoard("hut-01") as board:
        waiters = []
        try:
            for folder in apart:
                folder.mkdir()
                waiters.append(Waiter(folder, board, 600.0, None))
                assert waiters[-1].next("writing")
            board.wait_for("second_writer", 60)
        finally:
            for waiter in waiters:
                waiter.close()


@pytest.mark.soak
def test_two_hundred_waiters_of_two_users(shared: Path) -> None:
    """WS8-6, WS9-8."""
    outcome = storm(shared, 200, users(), seed=SEED)
    assert outcome.served == tuple(range(200)), f"seed {SEED}"
    print(f"storm: 200 waiters served in order; slowest hand-over {1000 * max(outcome.hand_overs):.0f} ms")


@pytest.mark.soak
def test_a_hundred_killed_holders(shared: Path) -> None:
    """WS8-6, WS9-8: no waiter starves."""
    outcome = storm(shared, 150, users(), kills=100, seed=SEED)
    assert outcome.served == tuple(range(150)), f"seed {SEED}"
    print(f"storm: 100 of 150 holders killed; slowest hand-over {1000 * max(outcome.hand_overs):.0f} ms (seed {SEED})")
