"""Running somebody's command while we hold a slot, as a shell would: terminal, signals and exit code are its own.

The command gets a process group of its own. It cannot keep the lock, because the descriptor closes on exec; what it
leaves running in its group is killed when it ends. All of the group dies with us, also when we are killed: then a
watcher, which has the other end of a pipe of ours, does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from hut_ci import process

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of POSIX shells, env(1), flock(1) and timeout(1) for a command that cannot be started."""


def run_command(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `argv` to its end and answer its exit code, 128 + N after signal N.

    Signals of FORWARDED that reach us meanwhile are passed on to its group. Raises OSError where it cannot be
    started.
    """
    with _terminal() as terminal, _caught() as (caught, before), _watcher() as watcher:
        child = _start(argv, env, terminal, watcher, before)
        _wait(child.pid, terminal, caught)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # before it is reaped: until then nobody else can have its number
        _hand_over(terminal, child.pid, os.getpgrp())
        child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


@contextmanager
def _caught() -> Iterator[tuple[Collection[int], Collection[int]]]:
    """The signals that are kept for `_wait` to take, SIGCHLD among them, and the mask that the command is to have.

    Not by handlers: one that arrives just before a blocking call would wait for that call to end.
    """
    # Under nohup SIGHUP is ignored from the start, and stays so.
    wanted = {n for n in FORWARDED if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN}
    caught = {*wanted, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    child_died = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield caught, before
    finally:
        while signal.sigtimedwait(caught, 0) is not None:
            pass  # what was meant for the command came too late for it
        signal.signal(signal.SIGCHLD, child_died)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    argv: Sequence[str], env: Mapping[str, str], terminal: int | None, watcher: int, mask: Collection[int]
) -> subprocess.Popen[bytes]:
    dies_with_us = process.dies_with_us(signal.SIGKILL)
    ours = os.getpgrp()

    def prepare() -> None:
        os.write(watcher, f"{os.getpid()}\n".encode())
        dies_with_us()
        _hand_over(terminal, ours, os.getpid())
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    with process.unwarned_fork():
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            process_group=0,
            preexec_fn=prepare,  # noqa: PLW1509 (see process.py)
        )


@contextmanager
def _watcher() -> Iterator[int]:
    """A pipe to a process that kills a group when we end without a word: nobody may be left at the board.

    The group's leader writes its number there, before it becomes the command.
    """
    script = 'trap "" TERM INT HUP; read -r group && { read -r _ || kill -KILL "-$group"; }'
    with subprocess.Popen(
        ["/bin/sh", "-c", script, "hut-ci-watcher"],
        stdin=subprocess.PIPE,
        bufsize=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=process.clean_environment(),
        start_new_session=True,
    ) as watcher:
        assert watcher.stdin is not None
        try:
            yield watcher.stdin.fileno()
        finally:  # also where the command could not be started: its number may be somebody else's by now
            with suppress(BrokenPipeError):
                watcher.stdin.write(b"ended\n")


def _wait(pid: int, terminal: int | None, caught: Collection[int]) -> None:
    """Until the command has ended, passing on what is caught meanwhile."""
    while True:
        number = signal.sigwaitinfo(caught).si_signo
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.killpg(pid, number)
        elif _has_ended(pid, terminal):
            return


def _has_ended(pid: int, terminal: int | None) -> bool:
    """When a person has stopped the command (Ctrl-Z), we stop, too, and go on with it."""
    flags = os.WEXITED | os.WSTOPPED | os.WNOHANG
    while (seen := os.waitid(os.P_PID, pid, flags | os.WNOWAIT)) is not None:
        if seen.si_code != os.CLD_STOPPED:
            return True
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
        if terminal is not None:
            _hand_over(terminal, pid, os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
            _hand_over(terminal, os.getpgrp(), pid)
            os.killpg(pid, signal.SIGCONT)
    return False


@contextmanager
def _terminal() -> Iterator[int | None]:
    """A descriptor of the terminal that a person sits at; None where there is none."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC) if os.isatty(0) else None
    except OSError:
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _hand_over(terminal: int | None, giver: int, taker: int) -> None:
    """Give the terminal from one process group to the other, if the first one has it: not in a background job.

    Unless blocked, SIGTTOU stops whoever does that from the background (tcsetpgrp(3)).
    """
    if terminal is None:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with suppress(OSError):  # the terminal was closed
        if os.tcgetpgrp(terminal) == giver:
            os.tcsetpgrp(terminal, taker)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
