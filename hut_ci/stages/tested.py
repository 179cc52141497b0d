"""What has passed already: the same commit, firmware and suite on the same board need no second run when asked so."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hut_ci import __version__
from hut_ci.model import FlashPlan, Project, Slot
from hut_ci.reports.atomic import replace_file
from hut_ci.units import utc_now

KEPT = 2000
"""Notes of 100 bytes each; the oldest go first."""
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{5,12}Z")


@dataclass(frozen=True, slots=True)
class Tested:
    """The note, in `folder`, that what `key` stands for has passed."""

    folder: Path
    key: str

    def passed_at(self) -> str | None:
        """When it passed last, or None."""
        with suppress(OSError, ValueError):
            text = (self.folder / self.key).read_text("ascii")[:40].strip()
            return text if _WHEN.fullmatch(text) else None
        return None

    def remember(self) -> None:
        """Note that it passed now; a state folder that cannot be written costs the note, not the run."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self.folder / self.key, f"{utc_now()}\n".encode(), durable=False)
            notes = sorted(self.folder.glob("[0-9a-f]*"), key=lambda note: note.stat().st_mtime, reverse=True)
            for old in notes[KEPT:]:
                old.unlink(missing_ok=True)


def tested_key(commit_sha: str, slot: Slot, plan: FlashPlan, project: Project) -> str:
    """A digest over all that a verdict depends on: commit, slot, bytes, flash settings, suite, and our own rules."""
    parts = [(part.offset, part.sha256) for part in plan.parts]
    flashing = [plan.erase_all, plan.erased, plan.mode, plan.freq, plan.size]
    told = [__version__, commit_sha, slot.id, slot.serial, repr(slot.facts), parts, flashing]
    suite = dataclasses.asdict(project.suite)
    suite["off"] = sorted(suite["off"])
    return hashlib.sha256(json.dumps([*told, suite], sort_keys=True, default=str).encode()).hexdigest()
