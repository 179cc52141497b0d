"""Switch power by running a program of the operator's: argv lists from lab.yml, never a shell, never from a project."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hut_ci import process
from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError

ON_WORDS = frozenset({"on", "1", "true", "yes"})
POLL_SECONDS = 0.1
OFF_WORDS = frozenset({"off", "0", "false", "no"})


@dataclass(frozen=True, slots=True)
class CommandSwitch:
    """`argv` maps `on`, `off` and optionally `state` to argument lists; `timeout` (seconds) bounds each call.

    `state` prints `on` or `off` as its last word. Without it nothing can be read back, and only the slot's proof
    shows whether the command did anything.
    """

    argv: Mapping[str, tuple[str, ...]]
    timeout: float = 15.0
    sleep: Callable[[float], None] = time.sleep

    def exists(self, deadline: Deadline) -> None:
        """Raises PowerError (`no_command`) unless both `on` and `off` are given, and what `state` raises."""
        if missing := [name for name in ("on", "off") if not self.argv.get(name)]:
            raise _failed(
                "no_command",
                f"lab.yml has no power command for: {', '.join(missing)}",
                "A slot must be switched off and on again.",
                "Write both as lists: command: {on: [/usr/sbin/uhubctl, …], off: [/usr/sbin/uhubctl, …]}",
            )
        self.is_on(deadline)

    def off(self, deadline: Deadline) -> None:
        """Switch off; where there is a `state`, wait until it no longer reads `on`."""
        self._switch("off", False, deadline)

    def on(self, deadline: Deadline) -> None:
        """Switch on; where there is a `state`, wait until it no longer reads `off`."""
        self._switch("on", True, deadline)

    def is_on(self, deadline: Deadline) -> bool | None:
        """What `state` prints; None without such a command or for any other word."""
        if not self.argv.get("state"):
            return None
        words = self._run("state", deadline).lower().split()
        last = words[-1] if words else ""
        return True if last in ON_WORDS else False if last in OFF_WORDS else None

    def _switch(self, name: str, wanted: bool, deadline: Deadline) -> None:
        self._run(name, deadline)
        window = deadline.within(self.timeout)
        while self.is_on(deadline) is (not wanted):
            if window.expired:
                raise _failed(
                    "stuck",
                    f"{self.argv['state'][0]} does not print `{name}` {self.timeout:g} s after {self.argv[name][0]}",
                    "The switch did not move, or its state is read back too slowly.",
                    "Run both by hand, or raise `timeout` of this slot's power in lab.yml.",
                )
            self.sleep(min(POLL_SECONDS, window.remaining))

    def _run(self, name: str, deadline: Deadline) -> str:
        argv = self.argv[name]
        try:
            with process.private_folder() as folder:
                ended = process.run(
                    argv,
                    deadline=deadline.within(self.timeout),
                    cwd=folder,
                    env=process.clean_environment(folder),
                )
        except OSError as error:
            raise _failed(
                "command_failed",
                f"the power command {argv[0]} cannot be started: {error.strerror}",
                "",
                "Check `command` of this slot in lab.yml.",
            ) from error
        if ended.timed_out:
            raise _failed(
                "slow",
                f"the power command {argv[0]} did not end within {self.timeout:g} s",
                "The switch behind it does not answer.",
                "Run the command by hand, or raise `timeout` of this slot's power in lab.yml.",
            )
        if ended.returncode != 0:
            raise _failed(
                "command_failed",
                f"the power command {argv[0]} ({name}) ended with {ended.returncode}",
                _last_line(ended.output),
                "Run the command by hand on the lab host.",
            )
        return ended.output


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return "".join(letter for letter in lines[-1] if letter.isprintable())[:200] if lines else ""


def _failed(detail: str, what: str, why: str, todo: str) -> PowerError:
    return PowerError(what, why=why, todo=todo, fields={"detail": detail})
