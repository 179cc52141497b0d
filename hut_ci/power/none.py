"""The back end of a slot without a switch: says that recovery by power is not available."""

from __future__ import annotations

from dataclasses import dataclass

from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError


@dataclass(frozen=True, slots=True)
class NoSwitch:
    """`slot` names the slot in the error that every call but `is_on` raises (detail `no_switch`)."""

    slot: str

    def exists(self, deadline: Deadline) -> None:  # noqa: ARG002 (the functions that every back end has)
        raise PowerError(
            f"{self.slot} has no power switch",
            why="lab.yml names neither a Home Assistant entity nor a command for it; recovery by power is unavailable.",
            todo=f"Add under slots: {self.slot}: power: {{entity: switch.NAME}}",
            fields={"detail": "no_switch"},
        )

    def off(self, deadline: Deadline) -> None:
        self.exists(deadline)

    def on(self, deadline: Deadline) -> None:
        self.exists(deadline)

    def is_on(self, deadline: Deadline) -> bool | None:  # noqa: ARG002 (as above)
        return None
