"""What lies between the two processes is whole, valid and from the other side, or it is refused."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hut_ci.errors import ArtifactError, ConfigError
from hut_ci.watch import spool

NAME = "0123456789abcdef01234567-0"
BYTES = b"\xe9 firmware"
REQUEST = {
    "schema_version": "hut.request.v1",
    "commit_sha": "5e" * 20,
    "builds": "github:acme/firmware",
    "pairs": [{"slot": "hut-01"}],
    "not_after": "2999-01-01T00:00:00Z",
}
HANDOVER: dict[str, Any] = {
    "schema_version": "hut.handover.v1",
    "project": {"name": "hut.yml@main", "changed": True, "of_commit": False, "notes": ["a note"]},
    "artifact": {
        "name": "firmware",
        "digest": f"sha256:{hashlib.sha256(BYTES).hexdigest()}",
        "forge": "github",
        "run_id": "7",
        "built_sha": None,
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    for side in (spool.JOBS, spool.REPORTS):
        spool.make(made, side)
    (tmp_path / "artifact").write_bytes(BYTES)
    (tmp_path / "work").mkdir()
    spool.hand_over(made, NAME, REQUEST, HANDOVER, b"suite: {}\n", tmp_path / "artifact")
    return made


def job(folder: Path) -> Path:
    return folder / spool.JOBS / NAME


def test_a_job_arrives_as_it_was_handed_over(folder: Path, tmp_path: Path) -> None:
    assert spool.ready(folder, spool.JOBS) == [NAME]
    taken = spool.take_over(folder, NAME, tmp_path / "work")
    assert (taken.project, taken.project_name, taken.changed, taken.notes) == (
        b"suite: {}\n",
        "hut.yml@main",
        True,
        ("a note",),
    )
    artifact = taken.artifact
    assert (artifact.source, artifact.forge, artifact.run_id) == ("upstream_artifact", "github", "7")
    assert artifact.commit_sha == "5e" * 20
    assert artifact.path.read_bytes() == BYTES


def test_a_report_arrives_whole_and_is_removed_with_its_job(folder: Path) -> None:
    part = spool.begin(folder, NAME)
    (part / spool.REPORT).write_text('{"a": 1}')
    assert spool.ready(folder, spool.REPORTS) == []
    spool.clear(folder)
    assert part.exists(), "its job is there"
    spool.finish(folder, NAME)
    assert spool.ready(folder, spool.REPORTS) == [NAME]
    assert spool.read_report(folder, NAME) == {"a": 1}
    spool.withdraw(folder, NAME)
    spool.withdraw(folder, NAME)
    spool.clear(folder)
    assert (spool.ready(folder, spool.JOBS), spool.ready(folder, spool.REPORTS)) == ([], [])


def test_a_job_that_is_there_stays_and_half_a_one_is_made_anew(folder: Path, tmp_path: Path) -> None:
    before = job(folder).stat().st_ino
    spool.hand_over(folder, NAME, {}, {}, None, tmp_path / "artifact")
    assert job(folder).stat().st_ino == before
    spool.withdraw(folder, NAME)
    (folder / spool.JOBS / f".{NAME}.part").mkdir()
    (folder / spool.JOBS / f".{NAME}.part" / "junk").touch()
    spool.hand_over(folder, NAME, REQUEST, HANDOVER, None, tmp_path / "artifact")
    assert sorted(path.name for path in job(folder).iterdir()) == ["artifact", "handover.json", "request.json"]


def _handover(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "handover.json").write_text(json.dumps({**HANDOVER, **changes}))

    return change


def _request(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "request.json").write_text(json.dumps({**REQUEST, **changes})) and None


def _link(folder: Path) -> None:
    (folder / "artifact").unlink()
    (folder / "artifact").symlink_to("/etc/passwd")


def _pipe(folder: Path) -> None:
    (folder / "handover.json").unlink()
    os.mkfifo(folder / "handover.json")


TRAPS: dict[str, Callable[[Path], object]] = {
    "another artifact": lambda folder: (folder / "artifact").write_bytes(b"other"),
    "no artifact": lambda folder: (folder / "artifact").unlink(),
    "a link": _link,
    "two names": lambda folder: (folder / "twin").hardlink_to(folder / "artifact"),
    "a pipe": _pipe,
    "everybody may write": lambda folder: (folder / "request.json").chmod(0o666),
    "no JSON": lambda folder: (folder / "request.json").write_text("{"),
    "deep JSON": lambda folder: (folder / "request.json").write_text("[" * 100000),
    "too large": lambda folder: (folder / "hut.yml").write_bytes(bytes((1 << 20) + 1)),
    "two pairs": _request(pairs=[{"slot": "hut-01"}, {"slot": "hut-02"}]),
    "a path for a slot": _request(pairs=[{"slot": "../hut-01"}]),
    "a short commit": _request(commit_sha="5e5e"),
    "no digest": _handover(artifact={"name": "firmware", "forge": "github", "digest": "sha256:0"}),
    "more than the schema has": _handover(command="rm"),
    "everybody may write to its folder": lambda folder: folder.chmod(0o777),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_what_is_not_whole_and_valid_is_refused(trap: Callable[[Path], object], folder: Path, tmp_path: Path) -> None:
    trap(job(folder))
    with pytest.raises((ConfigError, ArtifactError)):
        spool.take_over(folder, NAME, tmp_path / "work")


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".hidden", "", "0123456789abcdef-0/..", "UPPER678-0", "x" * 300])
def test_what_is_no_name_leads_nowhere(name: str, folder: Path, tmp_path: Path) -> None:
    for act in (
        lambda: spool.take_over(folder, name, tmp_path),
        lambda: spool.begin(folder, name),
        lambda: spool.withdraw(folder, name),
    ):
        with pytest.raises(ConfigError, match="no name of a job"):
            act()
    assert spool.read_report(folder, name) is None


def test_what_a_killed_publisher_left_is_removed(folder: Path) -> None:
    jobs = folder / spool.JOBS
    for name in (f".{NAME}.part", f".{NAME}.gone", ".keep.part"):
        (jobs / name).mkdir()
    spool.sweep(folder)
    assert sorted(path.name for path in jobs.iterdir()) == [".keep.part", NAME]


def test_what_lies_there_that_is_not_ours_is_left_alone(folder: Path) -> None:
    (folder / spool.JOBS / "notes.txt").touch()
    (folder / spool.JOBS / f"{NAME[:-2]}-1").symlink_to(job(folder))
    (folder / spool.REPORTS / "keep").mkdir()
    assert spool.ready(folder, spool.JOBS) == [NAME]
    spool.clear(folder)
    assert (folder / spool.REPORTS / "keep").exists()


def test_one_that_is_taken_away_meanwhile_hides_no_other(folder: Path) -> None:
    """What a list holds decides which reports are removed."""
    jobs, ended = folder / spool.JOBS, threading.Event()
    for number in range(30):
        (jobs / f"{'k' * 24}-{number}").mkdir()

    def come_and_go() -> None:
        while not ended.is_set():
            (jobs / f"{'a' * 24}-0").mkdir()
            (jobs / f"{'a' * 24}-0").rename(jobs / ".gone")
            (jobs / ".gone").rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        counts = [len(spool.ready(folder, spool.JOBS)) for _ in range(1000)]
    finally:
        ended.set()
        other.join()
    assert set(counts) <= {31, 32}
