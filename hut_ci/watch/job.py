"""One thing that the lab was asked for, as the publisher keeps it until it is answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# A job is `asked` (nobody knows of it), `announcing` (some may), `open` (pending statuses stand), then `done`.
# A pair is `waiting`, `handed` to the bench, `answered` by a report, then `posted`.
ASKED, ANNOUNCING, OPEN, DONE = "asked", "announcing", "open", "done"
WAITING, HANDED, ANSWERED, POSTED = "waiting", "handed", "answered", "posted"


@dataclass(frozen=True, slots=True)
class JobPair:
    """One variant on one slot; `name` is what its folders in the spool are called."""

    number: int
    slot: str
    state: str = WAITING
    report: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """`document` is its hut.request.v1, of which `not_after` counts from the moment when it is announced.

    `created` is Unix time, and `refused` since when the forge has not let it be announced. `looked` is the state of
    the forge's builds at the last look for the artifact.
    """

    id: str
    repository: str
    line: str
    commit_sha: str
    document: Mapping[str, Any]
    pairs: tuple[JobPair, ...]
    created: float
    state: str = ASKED
    looked: str = ""
    refused: float | None = None

    def place(self, pair: JobPair) -> str:
        """The name of a pair's folders in the spool: letters, digits and dashes."""
        return f"{self.id}-{pair.number}"

    def document_of(self, pair: JobPair) -> Mapping[str, Any]:
        """The request that the bench gets: of this pair alone."""
        return {**self.document, "pairs": [self.document["pairs"][pair.number]]}

    @property
    def not_after(self) -> str:
        return str(self.document["not_after"])


def job_id(repository: str, finding_id: str) -> str:
    """The same for the same finding, so that deciding twice makes one job."""
    return hashlib.sha256(f"{repository}\n{finding_id}".encode()).hexdigest()[:24]
