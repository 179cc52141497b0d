"""Running somebody's command while we hold a slot, as a shell would: terminal, signals and exit code are its own.

Three processes: we, who hold the lock; a *minder*, forked from us, without the lock; and the command, a child of the
minder. At a terminal the command is in our process group, so that the terminal treats the two of us as one job (Ctrl-C,
Ctrl-Z, `fg`); without one it has a group of its own, so that a signal to our group reaches it once, by us. The minder
has a session of its own and adopts whatever the command leaves behind, whichever group or session that made for
itself. When the command has ended, or when we have, however that happened, the minder kills all of it: nobody may be
left at the board. When the minder is killed, its family becomes ours, and we do the same.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from hut_ci import prctl, proc, process
from hut_ci.deadline import Deadline

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""After these a stopped process is continued, as shells do: else it would never learn of them."""
ORPHANED = signal.SIGRTMIN
"""What the minder gets when we end."""
FROM_TERMINAL = 0x80
"""si_code SI_KERNEL: a key was typed, and the kernel has told the whole job, the command included (sigaction(2))."""
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of POSIX shells, env(1), flock(1) and timeout(1) for a command that cannot be started."""
END_SECONDS = 5.0
"""For killed processes to be gone; only one that waits for a device takes longer than milliseconds."""
LOOK_SECONDS = 0.002
_ERRNO = struct.Struct("i")


def run_command(
    argv: Sequence[str], env: Mapping[str, str], is_spared: Callable[[int], bool]
) -> tuple[int, tuple[int, ...]]:
    """Run `argv` to its end: its exit code, 128 + N after signal N, and the pids of those that could not be ended.

    Signals of FORWARDED that are sent to us meanwhile are passed on. What it started and left behind is killed; out
    of reach is only what runs as another user (sudo), or waits for a device. `is_spared` is asked of each pid: a power
    guardian lets go by itself, once the relay of whatever was killed is on again. Raises OSError where the command
    cannot be started.
    """
    prctl.adopt_orphans()
    ours = proc.children(os.getpid())
    at_terminal = _has_terminal()
    with _caught() as (caught, before):
        trouble, told = os.pipe()
        dies_with_us = process.dies_with_us(ORPHANED)
        with process.unwarned_fork():
            minder = os.fork()
        if minder == 0:
            dies_with_us()
            _mind(argv, env, caught, before, told, at_terminal, is_spared)
        os.close(told)
        code = _relay(minder, caught)
        left = _end(lambda pid: pid in ours or is_spared(pid))
    with os.fdopen(trouble, "rb") as pipe:
        if errno := pipe.read(_ERRNO.size):
            (number,) = _ERRNO.unpack(errno)
            raise OSError(number, os.strerror(number))
    return code, tuple(sorted(left))


@contextmanager
def _caught() -> Iterator[tuple[Collection[int], Collection[int]]]:
    """The signals that are kept to be taken one by one, SIGCHLD among them, and the mask that the command is to have.

    Not by handlers: one that arrives just before a blocking call would wait for that call to end.
    """
    # Under nohup SIGHUP is ignored from the start, and stays so.
    wanted = {n for n in FORWARDED if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN}
    caught = {*wanted, signal.SIGCHLD, ORPHANED}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    child_died = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield caught, before
    finally:
        while signal.sigtimedwait(caught, 0) is not None:
            pass  # what was meant for the command came too late for it
        signal.signal(signal.SIGCHLD, child_died)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _has_terminal() -> bool:
    """Whether somebody can type Ctrl-C or Ctrl-Z to us, wherever our input comes from."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _relay(minder: int, caught: Collection[int]) -> int:
    """Pass signals on until the minder has ended; the exit code that it ended with."""
    while True:
        seen = signal.sigwaitinfo(caught)
        if seen.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(minder, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif seen.si_code != FROM_TERMINAL:
            os.kill(minder, seen.si_signo)  # not reaped yet, so the number is still its own


# --- the minder ---------------------------------------------------------------------------------------------


def _mind(
    argv: Sequence[str],
    env: Mapping[str, str],
    caught: Collection[int],
    mask: Collection[int],
    told: int,
    at_terminal: bool,
    is_spared: Callable[[int], bool],
) -> NoReturn:
    """Be the minder, to the command's end; a command that cannot be started is told as an errno to `told`."""
    try:
        os.closerange(3, told)  # the lock among them
        os.closerange(told + 1, os.sysconf("SC_OPEN_MAX"))
        prctl.adopt_orphans()
        wait, go = os.pipe()
        dies_with_us = process.dies_with_us(signal.SIGKILL)
        command = os.fork()
        if command == 0:
            os.close(go)
            dies_with_us()
            _become(argv, env, mask, wait, told)
        if not at_terminal:
            os.setpgid(command, command)
        job = os.getpgrp() if at_terminal else command
        # No longer of the terminal's job: a Ctrl-Z does not reach us, nor the command where no shell could continue it.
        os.setsid()
        os.close(go)
        code = _watch(command, job, caught)
        _end(is_spared)
        os._exit(code)
    finally:
        os._exit(NOT_EXECUTABLE)  # an error of ours must not go on as a second hut-ci


def _become(argv: Sequence[str], env: Mapping[str, str], mask: Collection[int], wait: int, told: int) -> NoReturn:
    """Be the command, as soon as nobody holds the other end of `wait` any more."""
    os.read(wait, 1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 (a person's own command, and no shell)
    except OSError as error:
        os.write(told, _ERRNO.pack(error.errno or 0))
    finally:
        os._exit(NOT_EXECUTABLE)


def _watch(command: int, job: int, caught: Collection[int]) -> int:
    """Pass signals on until the command, or the process that holds the slot, has ended; the exit code."""
    while True:
        number = signal.sigwaitinfo(caught).si_signo
        if number == ORPHANED:
            return 128 + signal.SIGKILL
        if number != signal.SIGCHLD:
            _tell(command, job, number)
        elif (code := _reap(command)) is not None:
            return code


def _reap(command: int) -> int | None:
    """Take the ends of our children, adopted ones too; the command's exit code if it is among them."""
    answer = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                code = os.waitstatus_to_exitcode(ended[1])
                answer = code if code >= 0 else 128 - code
    return answer


def _tell(command: int, job: int, number: int) -> None:
    """Send a signal to the command, and to those of its family that a key on the terminal would reach."""
    family = proc.family()
    for pid in {command} | {pid for pid in proc.descendants(os.getpid(), family) if family[pid][1] == job}:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            if number in ENDINGS:
                os.kill(pid, signal.SIGCONT)


def _end(is_spared: Callable[[int], bool]) -> set[int]:
    """Kill our children, but for the spared ones, and then their children, which become ours; whoever does not end."""
    deadline = Deadline(END_SECONDS)
    foreign: set[int] = set()
    while (left := _children_but(is_spared)) - foreign and not deadline.expired:
        for pid in left:
            try:
                if not os.waitpid(pid, os.WNOHANG)[0]:
                    os.kill(pid, signal.SIGKILL)
            except PermissionError:
                foreign.add(pid)
        time.sleep(LOOK_SECONDS)
    return left


def _children_but(is_spared: Callable[[int], bool]) -> set[int]:
    return {pid for pid in proc.children(os.getpid()) if not is_spared(pid)}
