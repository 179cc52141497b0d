"""A relay is never left off: whoever cuts power first starts a process that gives it back when the cutter cannot.

`finally` does not run on SIGKILL. So before `off`, an intent record is written and the guardian is started
(guardian_process.py): its own session, holding the slot's lock by inheritance, told by a pipe how far the cycle is.
A record that is still there later (host crash, guardian killed) makes the next command on the slot switch on:
intent.repair.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hut_ci import process
from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.power.choose import Switch, pack
from hut_ci.power.guardian_process import next_line
from hut_ci.power.intent import RESTORE_SECONDS, intent_path, switch_back, write_intent
from hut_ci.power.state_file import remove_durably

READY_SECONDS = 20.0
"""For starting Python on a loaded host."""
OVERDUE_SECONDS = 2.0
"""A cycle ends by its own deadline; one that is so much later is stopped or hangs."""

_START = "import sys; sys.path.insert(0, sys.argv[1]); from hut_ci.power.guardian_process import main; main()"


@dataclass(slots=True)
class Guardian:
    """Guards one try of a power cycle, as a `with` block around it; leaving without `done` switches on.

    `slot_ids` are all slots behind the plug, `lock_fds` their held locks, `deadline` is the cycle's. Raises PowerError
    (`no_guardian`, `state_file`) on entering: then nothing was switched. `restored` is False where the relay may still
    be off.
    """

    state_dir: Path
    slot_ids: tuple[str, ...]
    switch: Switch
    lock_fds: tuple[int, ...]
    deadline: Deadline
    restored: bool = True
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _done: bool = False

    def __enter__(self) -> Guardian:
        try:
            intents = [str(write_intent(self.state_dir, slot_id, self.switch)) for slot_id in self.slot_ids]
            self._child = _start(self.lock_fds)
            seconds = self.deadline.remaining + OVERDUE_SECONDS
            self._tell(json.dumps({"switch": pack(self.switch), "intents": intents, "seconds": seconds}))
            if self._hear(READY_SECONDS) != "ready":
                raise BrokenPipeError("it did not start")
        except OSError as error:
            self._undo()
            raise PowerError(
                f"no guardian for the power of {', '.join(self.slot_ids)}: {error}",
                why="Without it a killed run could leave the relay off, so nothing was switched.",
                todo="Look for memory or process limits on the lab host.",
                fields={"detail": "no_guardian"},
            ) from error
        except BaseException:  # cancelled, or a record that cannot be written
            self._undo()
            raise
        return self

    def _undo(self) -> None:
        """Nothing was switched yet: neither the guardian nor the records are needed."""
        self._end()
        with contextlib.suppress(PowerError):
            self._forget()

    def switching_off(self) -> None:
        self._tell("off")

    def off_answered(self) -> None:
        self._tell("cut")

    def done(self) -> None:
        """The relay reads `on` again, or was never asked: there is nothing left to guard."""
        self._done = True
        with contextlib.suppress(OSError):
            self._tell("done")

    def __exit__(self, *_: object) -> None:
        answer = self._wait_for_end()  # interrupted here, the guardian is left alone with its work
        self._end()
        if not answer:  # it was killed, or is stuck and has been killed: the same work once more, here
            with contextlib.suppress(PowerError):
                if not self._done:
                    switch_back(self.switch, Deadline(RESTORE_SECONDS))
                self._forget()
                answer = "on"
        self.restored = answer == "on"

    def _wait_for_end(self) -> str:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        return self._hear(5.0 if self._done else RESTORE_SECONDS + 5.0)

    def _forget(self) -> None:
        for slot_id in self.slot_ids:
            remove_durably(intent_path(self.state_dir, slot_id))

    def _tell(self, line: str) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            if line == "off":  # the last moment to refuse
                raise PowerError(
                    f"the guardian for the power of {', '.join(self.slot_ids)} ended early: nothing was switched",
                    fields={"detail": "no_guardian"},
                ) from error

    def _hear(self, seconds: float) -> str:
        """The guardian's next line, empty when it ended or `seconds` passed."""
        assert self._child is not None
        assert self._child.stdout is not None
        return next_line(self._child.stdout.fileno(), Deadline(seconds)) or ""

    def _end(self) -> None:
        """Reap the guardian; one that is still there by now is stuck and must not keep the lock."""
        if self._child is None:
            return
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(2.0)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _start(lock_fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
    # Not through process.run: that one ties a child's life to ours, and this is the child that has to outlive us.
    # -I keeps the working directory and PYTHON* variables out. CI runners find the orphans of a job by a variable
    # in their environment or by their session: the clean environment and the new session leave neither.
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _START, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        env=process.clean_environment(),
        pass_fds=lock_fds,
        start_new_session=True,
    )
