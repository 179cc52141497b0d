"""Every expected error: one class per stage that can fail, with the exit code of that stage.

An error says what happened, the likely why, and what to do. `evidence` names the row of
`stages/evidence.yml` that a *run* is judged by; outside a run the class's own exit code counts.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import ClassVar


class HutCiError(Exception):
    """An expected error; `what`, `why` and `todo` are sentences for a person.

    `fields` fill the sentence of the evidence row (`str.format_map` names).
    """

    exit_code: ClassVar[int] = 70
    evidence_default: ClassVar[str] = "bug"

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        todo: str = "",
        evidence: str = "",
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.todo = todo
        self.evidence = evidence or self.evidence_default
        self.fields: dict[str, str] = {"what": what, **(fields or {})}

    def __str__(self) -> str:
        return self.what


class UsageError(HutCiError):
    """The command line asks for something impossible."""

    exit_code = 2
    evidence_default = "usage"


class ConfigError(HutCiError):
    """lab.yml, hut.yml or another document does not say what it has to."""

    exit_code = 2
    evidence_default = "config"


class NotFlashable(ConfigError):
    """The build cannot be turned into a flash plan: the artifact or hut.yml has to change."""

    evidence_default = "not_flashable"


class DoesNotFit(ConfigError):
    """The plan and the slot do not match: chip, revision, flash size, PSRAM or tags."""

    evidence_default = "does_not_fit"


class BrokenBuild(HutCiError):
    """The firmware itself is at fault before any board was touched: overflow, bad checksum, overlap."""

    exit_code = 1
    evidence_default = "broken_build"


class ArtifactError(HutCiError):
    """There is no usable artifact for the commit."""

    exit_code = 3
    evidence_default = "no_artifact"


class BuildRunning(ArtifactError):
    """The build of the commit has not ended: waiting helps."""


class HostileArchive(ArtifactError):
    """An archive that is refused instead of being sanitised."""

    evidence_default = "hostile_archive"


class SlotError(HutCiError):
    """No board to run on."""

    exit_code = 4
    evidence_default = "slot_busy"


class FlashError(HutCiError):
    exit_code = 5
    evidence_default = "flash_failed"


class BoardError(HutCiError):
    """The serial line or the board behind it does not answer."""

    exit_code = 6
    evidence_default = "port_gone"


class PowerError(HutCiError):
    """The relay, or whoever switches it, did not do what was asked."""

    exit_code = 7
    evidence_default = "power_failed"


class PublishError(HutCiError):
    exit_code = 8
    evidence_default = "publish_failed"


class ForgeUnavailable(PublishError):
    """The forge is down, unreachable or rate-limited: try later, after `pause` seconds if it said so."""

    pause: float | None = None


class Refused(HutCiError):
    """Not authorised, or the head of the pull request moved."""

    exit_code = 9
    evidence_default = "refused"


class Cancelled(HutCiError):
    """SIGHUP (129), SIGINT (130) or SIGTERM (143) arrived; `signal_number` says which."""

    evidence_default = "cancelled"

    def __init__(self, signal_number: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"cancelled by {name}", fields={"signal": str(signal_number), "name": name})
        self.signal_number = signal_number
