"""`artifacts/` and `statuses/` of one folder as a forge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from hut_ci.forges.local import artifacts
from hut_ci.forges.local import statuses as files
from hut_ci.forges.local.statuses import Status
from hut_ci.model import Artifact
from hut_ci.reports.status_text import GITHUB_LIMIT


@dataclass(frozen=True, slots=True)
class LocalForge:
    """A folder that plays the forge, with GitHub's states and its limit on descriptions."""

    root: Path
    vocabulary: ClassVar[Literal["github"]] = "github"
    description_limit: ClassVar[int] = GITHUB_LIMIT

    def find_artifact(self, sha: str, variant: str | None = None) -> Artifact:
        """The one build of `variant` for commit `sha`; see `artifacts.find_artifact`."""
        return artifacts.find_artifact(self.root / "artifacts", sha, variant)

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None = None) -> None:
        """Add a status; the last one of a context counts. Raises UsageError for a SHA that is not 40 hex digits."""
        files.add(self.root / "statuses", sha, context, state, description, target_url)

    def statuses(self, sha: str) -> list[Status]:
        """The status that counts of each context of `sha`, in the order of their names."""
        return files.latest(self.root / "statuses", sha)

    def history(self, sha: str, context: str) -> list[Status]:
        """Every status that this context of `sha` ever had, oldest first."""
        return files.history(self.root / "statuses", sha, context)

    def repair(self, before: str | None = None) -> list[Status]:
        """End pending statuses that nobody will end; see `statuses.repair`."""
        return files.repair(self.root / "statuses", before)
