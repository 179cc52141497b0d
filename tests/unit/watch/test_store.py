"""What was written is there after a kill; everything may be done twice."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hut_ci.errors import ConfigError
from hut_ci.stages.finding import Finding
from hut_ci.stages.trigger import Event
from hut_ci.watch.job import ANNOUNCING, ANSWERED, HANDED, OPEN, POSTED, WAITING, Job, JobPair
from hut_ci.watch.store import Store, unanswered
from hut_ci.watch.store_file import VERSION

FINDING = Finding("push:1", "branch:main", Event("push", commit_sha="5e" * 20))
JOB = Job("j" * 24, "github:a/b", "branch:main", "5e" * 20, {"not_after": "x"}, (JobPair(0, "hut-01"),), 1.0)
REPOSITORY = "github:a/b"


def test_the_way_of_a_job_each_step_twice(tmp_path: Path) -> None:
    with Store(tmp_path / "watch.db") as store:
        for _ in range(2):
            store.see(REPOSITORY, [FINDING], {"etag": "1"}, 5.0)
        assert store.undecided(REPOSITORY) == [FINDING]
        for outcome in ("run", "ignored"):
            store.decide(REPOSITORY, FINDING, outcome, None, JOB if outcome == "run" else None)
        assert store.unclosed(REPOSITORY) == [(FINDING, "run", None)]
        store.see(REPOSITORY, [FINDING], {}, 6.0)
        assert store.undecided(REPOSITORY) == []
        states = []
        for step in (
            lambda: store.announce(JOB, {"not_after": "y"}),
            lambda: store.announced(JOB),
            lambda: store.hand_over(JOB, JOB.pairs[0], 7.0),
            lambda: store.answer(JOB, {0: {"a": 1}}),
            lambda: store.answer(JOB, {0: {"a": 2}}),
            lambda: store.posted(JOB, JOB.pairs[0]),
        ):
            for _ in range(2):
                step()
            [known] = store.jobs()
            states.append((known.state, known.pairs[0].state))
        assert states == [
            (ANNOUNCING, WAITING),
            (OPEN, WAITING),
            (OPEN, HANDED),
            (OPEN, ANSWERED),
            (OPEN, ANSWERED),
            (OPEN, POSTED),
        ]
        [known] = store.jobs(REPOSITORY)
        assert (known.document, known.pairs[0].report, unanswered(known)) == ({"not_after": "y"}, {"a": 1}, [])
        assert store.begun(REPOSITORY) == [7.0]
        for _ in range(2):
            store.close(REPOSITORY, FINDING)
            store.done(JOB)
        assert (store.jobs(), store.unclosed(REPOSITORY)) == ([], [])
        store.recall(JOB)
        store.announced(JOB)
        assert store.jobs() == []


def test_what_is_old_and_over_is_forgotten(tmp_path: Path) -> None:
    with Store(tmp_path / "watch.db") as store:
        store.see(REPOSITORY, [FINDING], {}, 0.0)
        store.decide(REPOSITORY, FINDING, "run", None, JOB)
        store.close(REPOSITORY, FINDING)
        store.forget(1e9)
        assert store.jobs() == [JOB], "it is not over"
        store.done(JOB)
        store.forget(1e9)
        assert store.begun(REPOSITORY) == []
        store.see(REPOSITORY, [FINDING], {}, 0.0)
        assert store.undecided(REPOSITORY) == [FINDING]
        store.give_up(REPOSITORY, 1.0)
        assert store.undecided(REPOSITORY) == []


def test_a_kill_loses_nothing_that_was_returned_from(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from hut_ci.watch.store import Store\n"
        "store = Store(Path(sys.argv[1])); store.see('r', (), {'n': '1'}, 0.0)\n"
        "store._db.execute('BEGIN IMMEDIATE'); store._db.execute(\"INSERT INTO mark VALUES ('r', 'm', '2')\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path / "watch.db"], timeout=60, check=False)
    assert ended.returncode == -9
    with Store(tmp_path / "watch.db") as store:
        assert store.marks("r") == {"n": "1"}


def test_a_full_disk_is_told_as_one_also_of_a_large_report(tmp_path: Path) -> None:
    """SQLite then rolls back by itself, and a second time would be an error of its own."""
    with Store(tmp_path / "watch.db") as store:
        store.see(REPOSITORY, [FINDING], {}, 0.0)
        store.decide(REPOSITORY, FINDING, "run", None, JOB)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.answer(JOB, {0: {"log": "x" * (3 << 20)}})
        assert [pair.state for job in store.jobs() for pair in job.pairs] == [WAITING]


def test_a_file_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "watch.db"
    with Store(path) as store:
        store.see(REPOSITORY, [FINDING], {"etag": "1"}, 0.0)
    with closing(sqlite3.connect(path)) as other:
        other.executescript("ALTER TABLE job DROP COLUMN refused; PRAGMA user_version = 1;")
    with Store(path) as store:
        assert store.undecided(REPOSITORY) == [FINDING]
        store.decide(REPOSITORY, FINDING, "run", None, JOB)
        for now in (5.0, 6.0):
            store.refused(JOB, now)
        assert [known.refused for known in store.jobs()] == [5.0]
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_newer_or_broken_file_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path / "watch.db"):
        pass
    with sqlite3.connect(tmp_path / "watch.db") as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
    other.close()
    with pytest.raises(ConfigError, match="newer hut-ci"):
        Store(tmp_path / "watch.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(ConfigError, match="unable to open") as refused:
        Store(tmp_path / "folder.db")
    assert "move it away" not in refused.value.todo, "what is pending would never be ended"
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="cannot be used"):
        Store(tmp_path / "broken.db")


def test_a_file_whose_pages_are_damaged_is_refused_before_anything_is_decided(tmp_path: Path) -> None:
    path = tmp_path / "watch.db"
    with Store(path) as store:
        store.see("github:acme/firmware", (), {f"mark-{number}": "x" * 100 for number in range(100)}, 0.0)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be used"):
        Store(path)
