"""Running somebody's command while we hold a slot, as a shell would: terminal, signals and exit code are its own.

The command gets a process group of its own. It cannot keep the lock, because the descriptor closes on exec; what it
leaves running in its group is killed when it ends. All of the group dies with us, also when we are killed: then a
watcher, which has the other end of a pipe of ours, does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from hut_ci import process

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes of POSIX shells, env(1), flock(1) and timeout(1) for a command that cannot be started."""


def run_command(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run `argv` to its end and answer its exit code, 128 + N after signal N.

    Signals of FORWARDED that reach us meanwhile are passed on to its group. Raises OSError where it cannot be
    started.
    """
    with _terminal() as terminal, _forwarding() as forwarder, _watcher() as watcher:
        child = _start(argv, env, terminal, watcher)
        forwarder.to(child.pid)
        _wait(child.pid, terminal)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # before it is reaped: until then nobody else can have its number
        child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _start(argv: Sequence[str], env: Mapping[str, str], terminal: int | None, watcher: int) -> subprocess.Popen[bytes]:
    dies_with_us = process.dies_with_us(signal.SIGKILL)

    def prepare() -> None:
        os.write(watcher, f"{os.getpid()}\n".encode())
        dies_with_us()
        if terminal is not None:
            _hand_over(terminal, os.getpid())

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
        yield watcher.stdin.fileno()
        with suppress(BrokenPipeError):
            watcher.stdin.write(b"ended\n")


def _wait(pid: int, terminal: int | None) -> None:
    """Until the command has ended; when a person stops it (Ctrl-Z), we stop, too, and go on with it."""
    while True:
        seen = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if seen is None or seen.si_code != os.CLD_STOPPED:
            return
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG)
        if terminal is not None:
            _hand_over(terminal, os.getpgrp())
            os.kill(os.getpid(), signal.SIGSTOP)
            _hand_over(terminal, pid)
            os.killpg(pid, signal.SIGCONT)


@contextmanager
def _terminal() -> Iterator[int | None]:
    """A descriptor of the terminal, if a person sits at it and we are in its foreground; ours again afterwards."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        if not os.isatty(0) or os.tcgetpgrp(descriptor) != os.getpgrp():
            yield None
            return
        try:
            yield descriptor
        finally:
            _hand_over(descriptor, os.getpgrp())
    finally:
        os.close(descriptor)


def _hand_over(terminal: int, group: int) -> None:
    """Unless blocked, SIGTTOU stops whoever is not in the foreground and gives the terminal away (tcsetpgrp(3))."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with suppress(OSError):  # the terminal was closed
        os.tcsetpgrp(terminal, group)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Forwarder:
    """Passes signals on to the command's group; what comes before there is one is kept for it."""

    def __init__(self) -> None:
        self._group: int | None = None
        self._early: list[int] = []

    def arrive(self, number: int, _frame: FrameType | None) -> None:
        if self._group is None:
            self._early.append(number)
        else:
            self._pass_on(self._group, number)

    def to(self, group: int) -> None:
        self._group = group
        for number in self._early:
            self._pass_on(group, number)

    @staticmethod
    def _pass_on(group: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


@contextmanager
def _forwarding() -> Iterator[_Forwarder]:
    forwarder = _Forwarder()
    # Under nohup SIGHUP is ignored from the start, and stays so.
    wanted = [n for n in FORWARDED if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forwarder.arrive) for number in wanted}
    try:
        yield forwarder
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
