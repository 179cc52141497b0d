"""Claims between real processes: every claimant here is `claimant.py`, started, watched and killed."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from hut_ci.claims import flock
from hut_ci.claims.ending import end_holder
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError
from hut_ci.model import Lab, Slot
from hut_ci.stages.slot import Note

PROGRAM = Path(__file__).with_name("claimant.py")
PATIENCE = 60.0  # seconds until a test gives a process up; nothing waits this long when all is well

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")


class Claimant:
    """One running claimant.py; `until` is the barrier that every test waits at."""

    def __init__(self, folder: Path, slots: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder), slots, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.events: list[dict[str, Any]] = []
        self._rest = b""

    def until(self, event: str, **facts: object) -> dict[str, Any]:
        """The next event of this name with these facts; fails at end of output or of patience."""
        deadline = Deadline(PATIENCE)
        while True:
            seen = self._next(deadline)
            if seen["event"] == event and facts.items() <= seen.items():
                return seen

    def tell(self, word: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        if self.process.poll() is None:
            self.process.kill()
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()

    def _next(self, deadline: Deadline) -> dict[str, Any]:
        assert self.process.stdout
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], deadline.remaining)
            chunk = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert chunk, f"no such event; seen: {self.events}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        self.events.append(json.loads(line))
        return self.events[-1]


Start = Callable[..., Claimant]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as running:

        def starting(folder: Path, slots: str, *options: str) -> Claimant:
            claimant = Claimant(folder, slots, *options)
            running.callback(claimant.close)
            return claimant

        yield starting


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that users other than root can reach; pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="claims-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def lab_of(folder: Path, *slots: str) -> Lab:
    made = tuple(Slot(name, f"esp32-{name}", (f"/dev/serial/by-id/{name}",)) for name in slots)
    return Lab("bench", folder, folder / "state", made, folder / "lab.yml")


def claimable_now(folder: Path, slot: str = "hut-01", *, within: float = 0) -> None:
    """Claim and release, without waiting or in so many seconds; raises SlotError otherwise."""
    lab = lab_of(folder, slot)
    with flock.claim(lab, lab.slots[0], note=Note("test"), deadline=Deadline(within)):
        pass


def test_one_slot_serialises(tmp_path: Path, start: Start) -> None:
    """WS8-6, WS8-8, WS9-2: the second holds only after the first has let go, by the host's one clock."""
    first, second = start(tmp_path, "hut-01"), None
    first.until("held")
    second = start(tmp_path, "hut-01", "--hold", "0")
    waiting = second.until("waiting")
    assert (waiting["holder"], waiting["place"]) == (first.pid, 1)
    first.tell("release")
    released, held = first.until("released"), second.until("held")
    assert held["t"] > released["leaving"]


def test_two_slots_overlap(tmp_path: Path, start: Start) -> None:
    """WS8-7, WS8-8: both hold at one time, and neither waited."""
    one, two = start(tmp_path, "hut-01"), start(tmp_path, "hut-02")
    held = [one.until("held")["t"], two.until("held")["t"]]
    one.tell("release")
    two.tell("release")
    left = [one.until("released")["leaving"], two.until("released")["leaving"]]
    assert max(held) < min(left)
    assert not [event for event in one.events + two.events if event["event"] == "waiting"]


def test_order_of_arrival(tmp_path: Path, start: Start) -> None:
    """Eight waiters are served in the order in which they came; it takes milliseconds from one to the next.

    A machine that is busy with something else may keep one of them waiting, not most.
    """
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    waiters = []
    for place in range(1, 9):
        waiters.append(start(tmp_path, "hut-01", "--hold", "0"))
        assert waiters[-1].until("waiting")["place"] == place
    lab = lab_of(tmp_path, "hut-01")
    assert [entry.note.pid for entry in flock.queue(lab, lab.slots[0])] == [waiter.pid for waiter in waiters]
    holder.tell("release")
    left, pauses = holder.until("released")["leaving"], []
    for waiter in waiters:
        pauses.append(waiter.until("held")["t"] - left)
        left = waiter.until("released")["leaving"]
    assert min(pauses) > 0
    assert median(pauses) < 0.25, pauses
    assert flock.queue(lab, lab.slots[0]) == ()


def test_waiting_person_is_told_of_every_change(tmp_path: Path, start: Start) -> None:
    first = start(tmp_path, "hut-01", "--why", "debugging")
    first.until("held")
    second = start(tmp_path, "hut-01")
    second.until("waiting", place=1)
    third = start(tmp_path, "hut-01", "--hold", "0")
    told = third.until("waiting")
    assert (told["holder"], told["place"]) == (first.pid, 2)
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert told["text"].startswith(f'hut-01 is held by {user} (pid {first.pid}, "debugging") since ')
    first.tell("release")
    second.until("held")
    third.until("waiting", holder=second.pid, place=1)
    second.tell("release")
    third.until("held")
    looks = [(event["holder"], event["place"]) for event in third.events if event["event"] == "waiting"]
    assert len(looks) == len(set(looks)), "told twice of the same"


def test_deadline_names_holder_and_place(tmp_path: Path, start: Start) -> None:
    holder = start(tmp_path, "hut-01", "--why", "debugging")
    holder.until("held")
    first = start(tmp_path, "hut-01")
    first.until("waiting")
    late = start(tmp_path, "hut-01", "--wait", "0.1")
    refused = late.until("refused")
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert refused["what"].startswith(f'hut-01 is held by {user} (pid {holder.pid}, "debugging") since ')
    assert refused["what"].endswith(f'Z; place 2 in the queue, after {user} (pid {first.pid}, "test")')
    assert (refused["evidence"], late.process.wait(PATIENCE)) == ("slot_busy", 4)


def test_killed_holder_frees_the_slot_at_once(tmp_path: Path, start: Start) -> None:
    """Its note stays in the file, and counts for nothing."""
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    with pytest.raises(SlotError, match=f"pid {holder.pid}"):
        claimable_now(tmp_path)
    holder.kill()
    lab = lab_of(tmp_path, "hut-01")
    assert (tmp_path / "hut-01.lock").stat().st_size > 0
    assert flock.holder(lab, lab.slots[0]) is None
    claimable_now(tmp_path)


def test_killed_holder_hands_over_to_the_waiter(tmp_path: Path, start: Start) -> None:
    holder, waiter = start(tmp_path, "hut-01"), None
    holder.until("held")
    waiter = start(tmp_path, "hut-01", "--hold", "0")
    waiter.until("waiting")
    holder.kill()
    waiter.until("held")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_waiter_that_ends_does_not_block_the_queue(tmp_path: Path, start: Start, number: signal.Signals) -> None:
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    gone = start(tmp_path, "hut-01")
    gone.until("waiting", place=1)
    after = start(tmp_path, "hut-01", "--hold", "0")
    after.until("waiting", place=2)
    gone.process.send_signal(number)
    gone.process.wait(PATIENCE)
    after.until("waiting", place=1)
    holder.tell("release")
    after.until("released")
    claimable_now(tmp_path)
    assert list((tmp_path / "hut-01.queue").iterdir()) == [], "the dead one's ticket was swept by the next arrival"


def test_child_that_outlives_the_holder_does_not_keep_the_slot(tmp_path: Path, start: Start) -> None:
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    holder.tell("spawn")
    child = holder.until("child")["child"]
    holder.kill()
    # The kernel closes the child's inherited lock while it starts, not at once.
    claimable_now(tmp_path, within=PATIENCE)
    os.kill(child, 0)


@pytest.mark.parametrize("end", ["kill", "release"])
def test_guardian_that_was_handed_the_lock_keeps_the_slot(tmp_path: Path, start: Start, end: str) -> None:
    """Design decision 2: the one exception, until it ends; after a kill the note still says whose run it was."""
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    holder.tell("guard")
    guardian = os.pidfd_open(holder.until("child")["child"])
    try:
        if end == "kill":
            holder.kill()
        else:
            holder.tell("release")
            holder.until("released")
        with pytest.raises(SlotError, match=f"pid {holder.pid}" if end == "kill" else "is held by"):
            claimable_now(tmp_path)
        assert holder.process.stdin
        holder.process.stdin.close()
        assert select.select([guardian], [], [], PATIENCE)[0]
        claimable_now(tmp_path)
    finally:
        os.close(guardian)


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
FAR = 2000
"""So many numbers on, none was given lately: whoever still looks at a process that has ended finds nobody there."""


@pytest.mark.skipif(not os.access(LAST_PID, os.W_OK), reason="only root can choose the next process number")
def test_whoever_has_a_dead_holders_number_is_left_alone(tmp_path: Path, start: Start) -> None:
    """The kernel still names the taker of a lock that its child keeps: by now another process has that number."""
    with numbers_from((int(LAST_PID.read_text()) + FAR) % int(LAST_PID.with_name("pid_max").read_text())):
        first = start(tmp_path, "hut-01")
    first.until("held")
    first.tell("guard")
    child = first.until("child")["child"]
    lab = lab_of(tmp_path, "hut-01")
    victim = flock.holder(lab, lab.slots[0])
    assert victim is not None
    first.kill()
    with process_numbered(first.pid) as bystander:
        assert (flock.kernel_owner(lab, lab.slots[0]), flock.keepers(lab, lab.slots[0])) == (first.pid, (child,))
        assert end_holder(lab, lab.slots[0], victim, PATIENCE, lambda: None) == "SIGTERM"
        assert bystander.poll() is None
    claimable_now(tmp_path)


@contextmanager
def numbers_from(pid: int) -> Iterator[None]:
    """The next process of this host gets this number if it is free; afterwards it goes on where it was."""
    before = LAST_PID.read_text()
    LAST_PID.write_text(str(max(pid, 1) - 1))
    try:
        yield
    finally:
        LAST_PID.write_text(before)


@contextmanager
def process_numbered(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process with this very number, which has to be free: others are started meanwhile, so it may take a few."""
    for _ in range(100):
        with numbers_from(pid):
            process = subprocess.Popen(["/bin/sleep", "300"])
        with process:
            try:
                if process.pid == pid:
                    yield process
                    return
            finally:
                process.kill()
    pytest.fail(f"no process with the number {pid} in a hundred tries")


@pytest.mark.parametrize("kind", ["--exclusive", "--shared"])
def test_a_steal_ends_all_that_have_the_lock(tmp_path: Path, kind: str) -> None:
    """flock(1) hands its lock to its command: ending the one that took it frees nothing.

    A shared lock keeps every claim out, too, so it is named and can be ended like the other one.
    """
    lock = tmp_path / "hut-01.lock"
    lock.touch(0o660)
    lab = lab_of(tmp_path, "hut-01")
    argv = ["flock", kind, str(lock), "sh", "-c", "echo held; sleep 300; :"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as taker:
        assert taker.stdout
        try:
            assert taker.stdout.readline() == b"held\n"
            victim = flock.holder(lab, lab.slots[0])
            assert victim is not None
            assert (victim.pid, victim.why.endswith("a shared lock")) == (taker.pid, kind == "--shared")
            with pytest.raises(SlotError, match=f"held by .*pid {taker.pid}"):
                claimable_now(tmp_path)
            assert len(flock.keepers(lab, lab.slots[0])) >= 2
            assert end_holder(lab, lab.slots[0], victim, PATIENCE, lambda: None) == "SIGTERM"
            claimable_now(tmp_path)
        finally:
            os.killpg(taker.pid, signal.SIGKILL)


def test_whatever_calls_itself_a_guardian_is_named_to_the_operator(tmp_path: Path) -> None:
    """Its name spares it, for a while: who outstays a guardian's time is the operator's to end."""
    (tmp_path / "hut-01.lock").touch(0o660)
    lab = lab_of(tmp_path, "hut-01")
    named = "flock 9; printf hut-ci-guardian >/proc/$$/comm; echo held; read -r _"
    argv = ["bash", "-c", f"exec 9<>{tmp_path}/hut-01.lock; {named}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taker:
        assert taker.stdout
        assert taker.stdout.readline() == b"held\n"
        victim = flock.holder(lab, lab.slots[0])
        assert victim is not None
        with pytest.raises(SlotError, match=rf"power guardian \(pid {taker.pid}\)") as refused:
            end_holder(lab, lab.slots[0], victim, 0.1, lambda: None)
        assert f"`kill -KILL {taker.pid}`" in refused.value.todo
        assert taker.poll() is None
        assert flock.is_guardian(lab, taker.pid)
        taker.kill()
    claimable_now(tmp_path)


def test_whoever_waits_behind_a_stopped_holder_learns_how_to_get_on(tmp_path: Path, start: Start) -> None:
    """Ctrl-Z, and gone for lunch: it is said as soon as it is so, and no longer when the holder goes on."""
    holding = start(tmp_path, "hut-01")
    holding.until("held")
    waiting = start(tmp_path, "hut-01", "--hold", "0")
    assert "stopped" not in waiting.until("waiting", place=1)["text"]
    os.kill(holding.pid, signal.SIGSTOP)
    said = waiting.until("waiting")["text"]
    assert f"process {holding.pid} is stopped" in said
    assert f"`kill -CONT {holding.pid}`" in said
    with pytest.raises(SlotError) as refused:
        claimable_now(tmp_path)
    assert f"`kill -CONT {holding.pid}`" in refused.value.todo
    os.kill(holding.pid, signal.SIGCONT)
    assert "stopped" not in waiting.until("waiting")["text"]
    holding.tell("release")
    waiting.until("released")


@pytest.mark.real
def test_a_stopped_waiter_is_passed_over_and_stands_at_the_end_again(tmp_path: Path, start: Start) -> None:
    """Ctrl-Z at the head of the queue costs that waiter its place, not everybody the slot."""
    holding = start(tmp_path, "hut-01")
    holding.until("held")
    stopped = start(tmp_path, "hut-01", "--hold", "0")
    stopped.until("waiting", place=1)
    second = start(tmp_path, "hut-01")
    second.until("waiting", place=2)
    third = start(tmp_path, "hut-01")
    third.until("waiting", place=3)
    os.kill(stopped.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    holding.tell("release")
    second.until("held")
    os.kill(stopped.pid, signal.SIGCONT)
    assert "place 2 in the queue" in stopped.until("waiting", place=2)["text"]
    second.tell("release")
    third.until("held")
    third.tell("release")
    stopped.until("held")


def test_a_stopped_waiter_does_not_refuse_the_slot_to_whoever_does_not_wait(tmp_path: Path, start: Start) -> None:
    with start_holding(tmp_path, start):
        stopped = start(tmp_path, "hut-01", "--hold", "0")
        stopped.until("waiting", place=1)
        os.kill(stopped.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    claimable_now(tmp_path)
    os.kill(stopped.pid, signal.SIGCONT)
    stopped.until("released")


@contextmanager
def start_holding(folder: Path, start: Start) -> Iterator[None]:
    """The slot is held by another process for the length of the block."""
    holding = start(folder, "hut-01")
    holding.until("held")
    yield
    holding.tell("release")
    holding.until("released")


def test_lock_file_removed_under_a_waiter(tmp_path: Path, start: Start) -> None:
    """Somebody cleans the folder: the waiter ends up with the file that newcomers see, not with the removed one."""
    holder = start(tmp_path, "hut-01")
    holder.until("held")
    waiter = start(tmp_path, "hut-01")
    waiter.until("waiting")
    (tmp_path / "hut-01.lock").unlink()
    holder.tell("release")
    waiter.until("held")
    with pytest.raises(SlotError, match=f"pid {waiter.pid}"):
        claimable_now(tmp_path)


def test_any_of_two_slots_takes_the_first_that_is_freed(tmp_path: Path, start: Start) -> None:
    one, two = start(tmp_path, "hut-01"), start(tmp_path, "hut-02")
    one.until("held")
    two.until("held")
    either = start(tmp_path, "hut-01,hut-02")
    either.until("waiting", slot="hut-01")
    either.until("waiting", slot="hut-02")
    two.tell("release")
    assert either.until("held")["slot"] == "hut-02"
    lab = lab_of(tmp_path, "hut-01", "hut-02")
    assert [flock.queue(lab, slot) for slot in lab.slots] == [(), ()], "no place is kept where none is needed"


def test_lock_taken_by_the_flock_program_is_respected_and_named(tmp_path: Path, start: Start) -> None:
    """WS9-2: the seed's scripts lock the same file without leaving a note."""
    lock = tmp_path / "hut-01.lock"
    lock.touch(0o660)
    command = ["flock", str(lock), "sh", "-c", "echo held; read x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        refused = start(tmp_path, "hut-01", "--wait", "0").until("refused")
        assert f'(pid {other.pid}, "flock")' in refused["what"]
        other.communicate(b"\n")
    claimable_now(tmp_path)


def test_asking_never_costs_a_claim(tmp_path: Path) -> None:
    """A probe locks the file shared for microseconds; here one takes 0.1 s, and a claim without waiting outlasts it."""
    claimable_now(tmp_path)
    with (tmp_path / "hut-01.lock").open() as probe:
        fcntl.flock(probe, fcntl.LOCK_SH)
        ends = threading.Timer(0.1, fcntl.flock, (probe, fcntl.LOCK_UN))
        ends.start()
        claimable_now(tmp_path)
        ends.join()


def test_asking_all_the_time_stops_nobody(tmp_path: Path, start: Start) -> None:
    """A process that asks without pause, and 100 claims of a free slot, each granted at once."""
    asking = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from claimant import lab_of; from hut_ci.claims import flock;"
        "lab = lab_of(Path(sys.argv[2]), 'hut-01'); print('ready', flush=True)\n"
        "while True: flock.holder(lab, lab.slots[0]), flock.queue(lab, lab.slots[0])"
    )
    claimable_now(tmp_path)
    command = [sys.executable, "-c", asking, str(PROGRAM.parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as asker:
        try:
            assert asker.stdout
            assert asker.stdout.readline() == b"ready\n"
            for _ in range(100):
                claimable_now(tmp_path)
            assert asker.poll() is None, "the asker has to be there all the time"
        finally:
            asker.kill()


def lab_users() -> tuple[str, str, int] | None:
    """Two users of this host, other than root, with one primary group."""
    members: dict[int, list[str]] = defaultdict(list)
    for user in pwd.getpwall():
        if user.pw_uid:
            members[user.pw_gid].append(user.pw_name)
    return next(((names[0], names[1], gid) for gid, names in members.items() if len(names) > 1), None)


def group_folder(shared: Path, gid: int) -> Path:
    folder = shared / "locks"
    folder.mkdir()
    os.chown(folder, 0, gid)
    folder.chmod(0o2770)
    return folder


@as_root
@pytest.mark.skipif(lab_users() is None, reason="no two users of this host share a group")
def test_two_users_share_a_setgid_folder(shared: Path, start: Start) -> None:
    """Security 19, design decision 1: the second user waits for the first one's lock, under a strict umask."""
    users = lab_users()
    assert users
    one, two, gid = users
    folder = group_folder(shared, gid)
    first = start(folder, "hut-01", "--user", one, "--umask", "077")
    first.until("held")
    second = start(folder, "hut-01", "--user", two, "--hold", "0", "--umask", "077")
    assert f"held by {one} (pid {first.pid}" in second.until("waiting")["text"]
    first.tell("release")
    second.until("held")
    second.until("released")
    found = (folder / "hut-01.lock").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (gid, 0o660)
    assert pwd.getpwuid(found.st_uid).pw_name == one


@as_root
@pytest.mark.skipif(lab_users() is None, reason="no two users of this host share a group")
def test_another_users_lock_in_a_sticky_folder_is_refused(shared: Path, start: Start) -> None:
    """Security 19: a folder like /run/lock cannot be shared; the advice says what can."""
    users = lab_users()
    assert users
    one, two, _ = users
    folder = shared / "locks"
    folder.mkdir()
    folder.chmod(0o1777)
    start(folder, "hut-01", "--user", one, "--hold", "0").until("released")
    refused = start(folder, "hut-01", "--user", two).until("refused")
    assert refused["kind"] == "ConfigError"
    assert "/etc/tmpfiles.d/" in refused["todo"]


@as_root
@pytest.mark.skipif(lab_users() is None, reason="no two users of this host share a group")
def test_file_of_somebody_outside_the_lab_group_is_refused(shared: Path, start: Start) -> None:
    """Security 19: the planted lock is usable by its mode, and still not trusted."""
    users = lab_users()
    assert users
    one, _, gid = users
    stranger = next(user for user in pwd.getpwall() if user.pw_uid and gid not in os.getgrouplist(user[0], user[3]))
    folder = group_folder(shared, gid)
    lock = folder / "hut-01.lock"
    lock.touch()
    lock.chmod(0o660)
    os.chown(lock, stranger.pw_uid, gid)
    refused = start(folder, "hut-01", "--user", one).until("refused")
    assert f"belongs to {stranger.pw_name}, who is not in the lab group" in refused["what"]
    os.chown(lock, 0, gid)
    start(folder, "hut-01", "--user", one, "--hold", "0").until("held")


@as_root
@pytest.mark.skipif(lab_users() is None, reason="no two users of this host share a group")
@pytest.mark.parametrize("present", [True, False], ids=["closed", "missing"])
def test_folder_that_is_not_ours_to_make_or_enter(shared: Path, start: Start, present: bool) -> None:
    users = lab_users()
    assert users
    folder = shared / "locks"
    if present:
        folder.mkdir(0o700)
    refused = start(folder, "hut-01", "--user", users[0]).until("refused")
    assert refused["kind"] == "ConfigError"
    assert "d /run/lock/hut-ci 2770 root hut-lab -" in refused["todo"]
    assert folder.exists() is present


def storm(folder: Path, count: int) -> None:
    """`count` claimants on two slots, a third of them killed at whatever they are doing.

    Nobody overlaps, nobody who lives goes without a claim, and both slots are free in the end.
    """
    with ExitStack() as running:
        claimants = []
        for number in range(count):
            claimant = Claimant(folder, ("hut-01", "hut-02", "hut-01,hut-02")[number % 3], "--hold", "0.01")
            running.callback(claimant.close)
            claimants.append(claimant)
            if number % 6 == 2:
                claimants[number // 2].process.kill()
            if number % 6 == 5:
                claimant.process.kill()
        spans = defaultdict(list)
        for claimant in claimants:
            output, _ = claimant.process.communicate(timeout=PATIENCE + count)
            events = [json.loads(line) for line in output.splitlines()]
            held = next((event for event in events if event["event"] == "held"), None)
            done = next((event for event in events if event["event"] == "released"), None)
            assert done or claimant.process.returncode == -signal.SIGKILL, events
            if held and done:
                spans[held["slot"]].append((held["t"], done["leaving"]))
    assert sum(map(len, spans.values())) >= count // 2
    for taken in spans.values():
        taken.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(taken))
    for slot in ("hut-01", "hut-02"):
        claimable_now(folder, slot)


@pytest.mark.real
def test_small_storm(tmp_path: Path) -> None:
    storm(tmp_path, 20)


@pytest.mark.soak
def test_storm(tmp_path: Path) -> None:
    storm(tmp_path, 200)
