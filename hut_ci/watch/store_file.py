"""The publisher's SQLite file: its tables, their version, and whether it is whole. WAL with full syncs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hut_ci.errors import ConfigError
from hut_ci.host_fault import host_fault

VERSION = 2
TABLES = """
CREATE TABLE mark (repository TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (repository, name));
CREATE TABLE finding (
    repository TEXT, id TEXT, text TEXT NOT NULL, outcome TEXT, reply TEXT, closed INTEGER NOT NULL DEFAULT 0,
    seen REAL NOT NULL, PRIMARY KEY (repository, id)
);
CREATE TABLE job (
    id TEXT PRIMARY KEY, repository TEXT NOT NULL, line TEXT NOT NULL, commit_sha TEXT NOT NULL, document TEXT NOT NULL,
    state TEXT NOT NULL, looked TEXT NOT NULL DEFAULT '', created REAL NOT NULL, refused REAL
);
CREATE TABLE pair (
    job TEXT, number INTEGER, slot TEXT NOT NULL, state TEXT NOT NULL, report TEXT, handed REAL,
    PRIMARY KEY (job, number)
);
CREATE INDEX open_findings ON finding (closed) WHERE closed = 0;
CREATE INDEX open_jobs ON job (state) WHERE state != 'done';
"""
STEPS = {0: TABLES, 1: "ALTER TABLE job ADD COLUMN refused REAL;"}
"""From each version to the present one."""


def opened(path: Path) -> sqlite3.Connection:
    """The file with its tables, made if need be.

    Raises ConfigError where it is damaged, of a newer version, or where this host cannot keep it.
    """
    try:
        return _prepared(path)
    except sqlite3.DatabaseError as error:
        if fault := host_fault(error, f"{path} cannot be used"):
            raise fault from error
        raise ConfigError(
            f"{path} cannot be used: {error}",
            why="it is damaged, or no database of ours",
            todo="move it away: the newest commit of each branch is then tested once more",
        ) from error


def _prepared(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    try:
        db.row_factory = sqlite3.Row
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise ConfigError(
            f"{path} was written by a newer hut-ci",
            why=f"its version is {version}, this program knows {VERSION}",
            todo="install the newer version again",
        )
    if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(found)
    if version in STEPS:
        db.executescript(f"BEGIN; {STEPS[version]} PRAGMA user_version = {VERSION}; COMMIT;")
