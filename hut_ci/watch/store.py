"""What the publisher knows, in one SQLite file: seen, decided, asked for, answered, published.

Every method is one transaction, and a second call with the same arguments changes nothing. What a method has returned
from survives a power cut.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hut_ci.stages.finding import Finding, from_text, to_text
from hut_ci.watch import store_file
from hut_ci.watch.job import ANNOUNCING, ANSWERED, ASKED, DONE, HANDED, OPEN, POSTED, WAITING, Job, JobPair

KEPT_SECONDS = 30 * 86400.0
"""How long what is over stays: nothing older is found again, because the marks have passed it."""


class Store:
    """Open it with `with`; one process at a time, which a lock beside the file makes sure of (publisher.py)."""

    def __init__(self, path: Path) -> None:
        self._db = store_file.opened(path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # --- seen ---------------------------------------------------------------------------------------------

    def marks(self, repository: str) -> dict[str, str]:
        rows = self._db.execute("SELECT name, value FROM mark WHERE repository = ?", (repository,))
        return {row["name"]: row["value"] for row in rows}

    def see(self, repository: str, findings: Iterable[Finding], marks: Mapping[str, str], now: float) -> None:
        """Keep findings together with the marks that say they were seen."""
        with self._transaction():
            for finding in findings:
                self._db.execute(
                    "INSERT OR IGNORE INTO finding (repository, id, text, seen) VALUES (?, ?, ?, ?)",
                    (repository, finding.id, to_text(finding), now),
                )
            for name, value in marks.items():
                self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", (repository, name, value))

    # --- decided ------------------------------------------------------------------------------------------

    def undecided(self, repository: str) -> list[Finding]:
        """In the order in which they were found."""
        rows = self._db.execute(
            "SELECT text FROM finding WHERE repository = ? AND outcome IS NULL ORDER BY rowid", (repository,)
        )
        return [from_text(row["text"]) for row in rows]

    def decide(self, repository: str, finding: Finding, outcome: str, reply: str | None, job: Job | None) -> None:
        """Keep what becomes of a finding, and the job that comes of it."""
        with self._transaction():
            decided = self._db.execute(
                "UPDATE finding SET outcome = ?, reply = ? WHERE repository = ? AND id = ? AND outcome IS NULL",
                (outcome, reply, repository, finding.id),
            )
            if job is not None and decided.rowcount:
                self._add(job)

    def _add(self, job: Job) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO job (id, repository, line, commit_sha, document, state, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (job.id, job.repository, job.line, job.commit_sha, json.dumps(job.document), job.state, job.created),
        )
        for pair in job.pairs:
            self._db.execute(
                "INSERT OR IGNORE INTO pair (job, number, slot, state) VALUES (?, ?, ?, ?)",
                (job.id, pair.number, pair.slot, WAITING),
            )

    def give_up(self, repository: str, before: float) -> None:
        """Close what could not be decided since then (Unix time)."""
        self._db.execute(
            "UPDATE finding SET outcome = 'ignored: the forge did not answer', closed = 1 "
            "WHERE repository = ? AND outcome IS NULL AND seen < ?",
            (repository, before),
        )

    def unclosed(self, repository: str) -> list[tuple[Finding, str, str | None]]:
        """Decided findings with outcome and reply, of which the forge shows no trace yet."""
        rows = self._db.execute(
            "SELECT text, outcome, reply FROM finding WHERE repository = ? AND outcome IS NOT NULL AND closed = 0 "
            "ORDER BY rowid",
            (repository,),
        )
        return [(from_text(row["text"]), row["outcome"], row["reply"]) for row in rows]

    def close(self, repository: str, finding: Finding) -> None:
        self._db.execute("UPDATE finding SET closed = 1 WHERE repository = ? AND id = ?", (repository, finding.id))

    # --- jobs ---------------------------------------------------------------------------------------------

    def jobs(self, repository: str | None = None) -> list[Job]:
        """Those that are not done, in the order in which they were decided: a clock may be set back."""
        rows = self._db.execute(
            "SELECT * FROM job WHERE state != ? AND (? IS NULL OR repository = ?) ORDER BY rowid",
            (DONE, repository, repository),
        )
        return [self._job(row) for row in rows]

    def job(self, job_id: str) -> Job | None:
        row = self._db.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
        return self._job(row) if row else None

    def _job(self, row: sqlite3.Row) -> Job:
        pairs = self._db.execute("SELECT * FROM pair WHERE job = ? ORDER BY number", (row["id"],))
        return Job(
            id=row["id"],
            repository=row["repository"],
            line=row["line"],
            commit_sha=row["commit_sha"],
            document=json.loads(row["document"]),
            pairs=tuple(_pair(pair) for pair in pairs),
            created=row["created"],
            state=row["state"],
            looked=row["looked"],
            refused=row["refused"],
        )

    def announce(self, job: Job, document: Mapping[str, Any]) -> None:
        """From here on somebody may have been told of it, and of its time limit."""
        self._db.execute(
            "UPDATE job SET state = ?, document = ? WHERE id = ? AND state IN (?, ?)",
            (ANNOUNCING, json.dumps(document), job.id, ASKED, ANNOUNCING),
        )

    def announced(self, job: Job) -> None:
        self._db.execute("UPDATE job SET state = ?, refused = NULL WHERE id = ? AND state != ?", (OPEN, job.id, DONE))

    def refused(self, job: Job, now: float) -> None:
        """The forge does not take its announcement; the first time counts."""
        self._db.execute("UPDATE job SET refused = COALESCE(refused, ?) WHERE id = ?", (now, job.id))

    def recall(self, job: Job) -> None:
        """The lab went away before it began: the job is announced once more when it is back."""
        self._db.execute("UPDATE job SET state = ?, refused = NULL WHERE id = ? AND state != ?", (ASKED, job.id, DONE))

    def looked(self, job: Job, builds: str) -> None:
        self._db.execute("UPDATE job SET looked = ? WHERE id = ?", (builds, job.id))

    def hand_over(self, job: Job, pair: JobPair, now: float) -> None:
        self._db.execute(
            "UPDATE pair SET state = ?, handed = ? WHERE job = ? AND number = ? AND state = ?",
            (HANDED, now, job.id, pair.number, WAITING),
        )

    def take_back(self, job: Job, pair: JobPair) -> None:
        self._db.execute(
            "UPDATE pair SET state = ? WHERE job = ? AND number = ? AND state = ?",
            (WAITING, job.id, pair.number, HANDED),
        )

    def answer(self, job: Job, reports: Mapping[int, Mapping[str, Any]]) -> None:
        """The reports of some pairs; the first one of each counts."""
        with self._transaction():
            for number, report in reports.items():
                self._db.execute(
                    "UPDATE pair SET state = ?, report = ? WHERE job = ? AND number = ? AND state IN (?, ?)",
                    (ANSWERED, json.dumps(report), job.id, number, WAITING, HANDED),
                )

    def posted(self, job: Job, pair: JobPair) -> None:
        self._db.execute(
            "UPDATE pair SET state = ? WHERE job = ? AND number = ? AND state = ?",
            (POSTED, job.id, pair.number, ANSWERED),
        )

    def done(self, job: Job) -> None:
        """Nothing more is to be said of it; the reports have been."""
        with self._transaction():
            self._db.execute("UPDATE job SET state = ? WHERE id = ?", (DONE, job.id))
            self._db.execute("UPDATE pair SET state = ?, report = NULL WHERE job = ?", (POSTED, job.id))

    # --- for the plan -------------------------------------------------------------------------------------

    def begun(self, repository: str) -> list[float]:
        """When pairs were handed over (Unix time)."""
        rows = self._db.execute(
            "SELECT handed FROM pair JOIN job ON job.id = pair.job WHERE repository = ? AND handed IS NOT NULL",
            (repository,),
        )
        return [row["handed"] for row in rows]

    def part_with(self, kept: Collection[str]) -> None:
        """Forget what was seen of all other repositories: one that is named again begins with a first look."""
        known = {row["repository"] for row in self._db.execute("SELECT DISTINCT repository FROM mark")}
        for repository in known - set(kept):
            with self._transaction():
                self._db.execute("DELETE FROM mark WHERE repository = ?", (repository,))
                self._db.execute(
                    "UPDATE finding SET outcome = COALESCE(outcome, 'ignored: watched no longer'), closed = 1 "
                    "WHERE repository = ? AND closed = 0",
                    (repository,),
                )

    def forget(self, now: float) -> None:
        """Remove what has been over for a month."""
        before = now - KEPT_SECONDS
        with self._transaction():
            self._db.execute(
                "DELETE FROM pair WHERE job IN (SELECT id FROM job WHERE state = ? AND created < ?)", (DONE, before)
            )
            self._db.execute("DELETE FROM job WHERE state = ? AND created < ?", (DONE, before))
            self._db.execute("DELETE FROM finding WHERE closed = 1 AND seen < ?", (before,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _pair(row: sqlite3.Row) -> JobPair:
    return JobPair(row["number"], row["slot"], row["state"], json.loads(row["report"]) if row["report"] else None)


def unanswered(job: Job) -> Sequence[JobPair]:
    """The pairs of which nothing is known yet."""
    return [pair for pair in job.pairs if pair.state in (WAITING, HANDED)]
