"""A child process with a deadline, which never outlives us.

Every program that hut_ci starts goes through `run`: an argv list and never a shell, an environment made from an
allow-list, its own process group, one thread, bounded memory. Linux only: it uses prctl(2) and pidfd_open(2).
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hut_ci import prctl
from hut_ci.deadline import Deadline

OUTPUT_LIMIT = 1 << 20
"""Bytes of output that `Finished.output` keeps: the last ones, because programs say why at the end."""
LOG_LIMIT = 8 << 20
"""Bytes that one call may add to its log file."""
GRACE_SECONDS = 1.0
"""Seconds between SIGTERM and SIGKILL: enough to write a last line, too short to hold up a cancelled run."""
CHUNK = 1 << 16
PIPE_LIMIT = 1 << 20
"""Bytes that a pipe can hold (/proc/sys/fs/pipe-max-size): the most that is read after the child has ended."""

_INHERITED = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_TIME"})
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSW", "CREDENTIAL", "PRIVATE", "APIKEY", "API_KEY", "JWT")
_SECRET_VALUE = re.compile(r"[A-Za-z0-9_.+=~-]{16,}")
"""No path and no short word: those are found in variables that hold no secret."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended: `returncode` is -N after signal N, `output` its last `OUTPUT_LIMIT` bytes as text."""

    returncode: int
    output: str
    timed_out: bool
    seconds: float


def clean_environment(home: Path | None = None, /, **extra: str) -> dict[str, str]:
    """The environment of a child: locale, PATH, no colours, and `extra`; nothing else of ours passes.

    HOME and TMPDIR are `home`, usually a `private_folder()`; without one HOME is a folder that does not exist.
    Raises ValueError where a name in `extra` looks like a credential.
    """
    if leaked := [name for name in extra if _is_secret(name)]:
        raise ValueError(f"a child gets no credentials: {', '.join(leaked)}")
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    folders = {"HOME": str(home), "TMPDIR": str(home)} if home else {"HOME": "/nonexistent"}
    return {"PATH": os.defpath, **inherited, **folders, "NO_COLOR": "1", **extra}


def without_credentials(
    environment: Mapping[str, str], *, keep: Collection[str] = (), drop: Collection[str] = ()
) -> dict[str, str]:
    """`environment` without what is named like a credential or holds the value of one, as an address in a URL may.

    For somebody's own command, which needs the rest. `keep` names those that it is to have, `drop` more to go.
    """
    secret = {name for name in environment if (_is_secret(name) and name not in keep) or name in drop}
    values = [environment[name] for name in secret if _SECRET_VALUE.fullmatch(environment[name])]
    return {
        name: value
        for name, value in environment.items()
        if name in keep or (name not in secret and not any(found in value for found in values))
    }


def _is_secret(name: str) -> bool:
    return any(word in name.upper() for word in _SECRET_WORDS)


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A new empty folder that only we can enter (0700), removed with its content afterwards."""
    with tempfile.TemporaryDirectory(prefix="hut-ci-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def run(
    argv: Sequence[str],
    *,
    deadline: Deadline,
    cwd: Path,
    env: Mapping[str, str],
    on_output: Callable[[bytes], None] | None = None,
    log: Path | None = None,
    stdin: bytes | None = None,
) -> Finished:
    """Run `argv` until it ends or the deadline passes; its stdout and stderr are one stream.

    `on_output` gets each chunk of bytes as it arrives, `log` is appended to (at most `LOG_LIMIT` bytes a call).
    When the deadline passes, or anything raises here (KeyboardInterrupt included), the whole process group gets
    SIGTERM, then SIGKILL. What the child left behind in its group is killed even when it ended by itself.
    Raises OSError where the program cannot be started, and whatever `on_output` raises.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("ab")) if log else None
        with _starting():
            child = stack.enter_context(_Child(_spawn(argv, cwd, env, stdin), stdin or b"", on_output, sink))
        in_time = child.pump(deadline)
    # Only now, because leaving the block is what ends a child that is out of time.
    seconds = time.monotonic() - began
    return Finished(child.process.returncode, child.output.decode("utf-8", "replace"), not in_time, seconds)


_postponed: list[Callable[[], None]] | None = None


def postpone(action: Callable[[], None]) -> bool:
    """For signal handlers that raise: whether a child is being started right now; `action` follows when it is there.

    A fork runs the hooks of other modules (os.register_at_fork: logging has some), and what a handler raises while
    one of them runs is printed and forgotten (CPython, run_at_forkers). Nor would anybody end the child.
    """
    if _postponed is None:
        return False
    _postponed.append(action)
    return True


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    global _postponed  # noqa: PLW0603 (a signal handler has nothing else to look at)
    _postponed = []
    try:
        yield
    finally:
        actions, _postponed = _postponed, None
        for action in actions:
            action()


def dies_with_us(number: signal.Signals) -> Callable[[], None]:
    """A preexec_fn: the child gets signal `number` when the thread that started it ends, however that happens."""
    parent = os.getpid()

    def ask_the_kernel() -> None:
        if not prctl.signal_when_parent_ends(number) or os.getppid() != parent:
            os._exit(127)  # the parent died before prctl: no signal would ever come

    return ask_the_kernel


@contextlib.contextmanager
def unwarned_fork() -> Iterator[None]:
    """For starting a child with `dies_with_us`, which takes no lock and allocates nothing new.

    Python 3.12 warns of every fork in a process with threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _spawn(argv: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: bytes | None) -> subprocess.Popen[bytes]:
    with unwarned_fork():
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=dict(env),
            bufsize=0,
            start_new_session=True,
            # The kernel looks at the *thread* that forked: `run` blocks it until the child is gone.
            preexec_fn=dies_with_us(signal.SIGKILL),  # noqa: PLW1509 (fork in a threaded process: see above)
        )


@dataclass(slots=True)
class _Child:
    """The parent's side of one child: reads, writes, notices the end, and always ends the group on leaving."""

    process: subprocess.Popen[bytes]
    unsent: bytes
    on_output: Callable[[bytes], None] | None
    sink: IO[bytes] | None
    output: bytearray = field(default_factory=bytearray)
    logged: int = 0
    exited: bool = False
    pidfd: int = -1
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __enter__(self) -> _Child:
        try:
            # A pidfd and not end-of-file: a grandchild may keep the pipe open for ever.
            self.pidfd = os.pidfd_open(self.process.pid)
            self.selector.register(self.pidfd, selectors.EVENT_READ, self._ended)
            for stream, event, action in (
                (self.process.stdout, selectors.EVENT_READ, self._receive),
                (self.process.stdin, selectors.EVENT_WRITE, self._send),
            ):
                if stream is not None:
                    os.set_blocking(stream.fileno(), False)
                    self.selector.register(stream, event, action)
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.on_output = None if kind else self.on_output
            if not self.exited:
                self._signal(signal.SIGTERM)
                self.pump(Deadline(GRACE_SECONDS))
        finally:
            self._release()

    def pump(self, deadline: Deadline) -> bool:
        """Move bytes until the child has ended (True) or the deadline has passed (False)."""
        while not self.exited:
            if deadline.expired:
                return False
            for key, _ in self.selector.select(min(deadline.remaining, 3600.0)):
                key.data()
        self._signal(signal.SIGKILL)  # what it started may still write
        for _ in range(PIPE_LIMIT // CHUNK):
            if not self._receive():
                break
        return True

    def _receive(self) -> bool:
        """Take one chunk; False when there is none now or nothing will ever come."""
        stream = self.process.stdout
        if stream is None or stream.closed:
            return False
        try:
            chunk = os.read(stream.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._forget(stream)
            return False
        self._keep(chunk)
        return True

    def _keep(self, chunk: bytes) -> None:
        self.output += chunk
        if len(self.output) > 2 * OUTPUT_LIMIT:  # cut rarely, so that a flood costs O(n)
            del self.output[:-OUTPUT_LIMIT]
        if self.sink is not None:
            self.sink.write(chunk[: max(0, LOG_LIMIT - self.logged)])
            self.logged += len(chunk)
        if self.on_output is not None:
            self.on_output(chunk)

    def _send(self) -> None:
        stream = self.process.stdin
        assert stream is not None
        try:
            sent = os.write(stream.fileno(), self.unsent[:CHUNK]) if self.unsent else 0
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want more; its exit code says whether that was right
            sent = len(self.unsent)
        self.unsent = self.unsent[sent:]
        if not self.unsent:
            self._forget(stream)

    def _ended(self) -> None:
        self.exited = True
        self.selector.unregister(self.pidfd)

    def _forget(self, stream: IO[bytes]) -> None:
        self.selector.unregister(stream)
        stream.close()

    def _signal(self, number: signal.Signals) -> None:
        # Before wait(): the zombie keeps the group's number from being given to somebody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _release(self) -> None:
        """Kill what is left of the group, reap the child, close every descriptor."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        self.selector.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()
        del self.output[:-OUTPUT_LIMIT]
