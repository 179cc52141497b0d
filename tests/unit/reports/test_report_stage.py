"""The report on disk: whole or absent, redacted, and there even when the run is killed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hut_ci_canaries import CANARIES, PATTERNS, SECRETS, planted
from report_samples import samples

from hut_ci.reports.json_document import problems, read
from hut_ci.reports.redaction import Redactor
from hut_ci.stages.report import checkpoint, clear, partial, write
from hut_ci.units import utc_now

FILES = {"report.json", "junit.xml", "summary.md"}


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_outcome_is_written(tmp_path: Path, name: str) -> None:
    """WS2-19: issue of every run: three documents, valid, readable for everybody, nothing else left behind."""
    out = tmp_path / "deep" / "out"
    path = write(samples()[name], out, Redactor(), {})
    assert path == out / "report.json"
    assert {entry.name for entry in out.iterdir()} == FILES
    assert problems(read(path)) == []
    ET.fromstring((out / "junit.xml").read_text())  # noqa: S314 (we wrote it ourselves)
    assert (out / "summary.md").read_text().startswith("### ")
    assert out.stat().st_mode & 0o777 == 0o755
    assert {entry.stat().st_mode & 0o777 for entry in out.iterdir()} == {0o644}


def test_logs_are_copied_redacted_and_listed(tmp_path: Path) -> None:
    """Raw logs stay where they are; copies of one stem are both listed, and attempts name the copies."""
    private = tmp_path / "private"
    private.mkdir()
    suite = dataclasses.replace(samples()["fail"].attempts[0].suite, log=private / "serial.txt")
    sample = dataclasses.replace(
        samples()["fail"], attempts=(dataclasses.replace(samples()["fail"].attempts[0], suite=suite),)
    )
    logs = {f"attempt-1-serial.{kind}": private / f"serial.{kind}" for kind in ("txt", "raw", "absent")}
    for log in list(logs.values())[:2]:
        log.write_bytes(b"psk=hunter2 \xff\n")
    document = read(write(sample, tmp_path / "out", Redactor(["hunter2"]), logs))
    assert (tmp_path / "out" / "attempt-1-serial.raw").read_bytes() == b"psk=[redacted] \xff\n"
    assert (private / "serial.raw").read_bytes() == b"psk=hunter2 \xff\n"
    assert document["hardware"]["logs"] == {
        "serial": "serial-1.log",
        "esptool": "esptool-1.log",
        "attempt-1-serial": "attempt-1-serial.txt",
        "attempt-1-serial.raw": "attempt-1-serial.raw",
    }
    assert document["hardware"]["attempts"][0]["suite"]["log"] == "attempt-1-serial.txt"
    assert set(document["artifact_paths"]) == FILES | set(document["hardware"]["logs"].values())


def test_a_log_in_the_folder_is_redacted_in_place(tmp_path: Path) -> None:
    (tmp_path / "serial-1.log").write_bytes(b"hunter2")
    write(samples()["fail"], tmp_path, Redactor(["hunter2"]), {"serial-1.log": tmp_path / "serial-1.log"})
    assert (tmp_path / "serial-1.log").read_bytes() == b"[redacted]"


def test_canaries_are_nowhere(tmp_path: Path) -> None:
    """CRED-7, security 15 and 20: secrets planted in every text of a run are in no file that it writes."""
    assert leaks(tmp_path / "redacted", Redactor(PATTERNS, SECRETS)) == {}


def test_canaries_negative_control(tmp_path: Path) -> None:
    """Security 28: without redaction each canary is found, in each kind of file."""
    found = leaks(tmp_path / "raw", Redactor(built_in=()))
    assert set(found) == set(CANARIES)
    assert set.union(*found.values()) == {*FILES, "serial-1.log"}


def leaks(out: Path, redactor: Redactor) -> dict[str, set[str]]:
    """Canary → names of the files that hold it, as written or as JSON holds it."""
    report, log = planted(out.parent)
    checkpoint(report, "flash " + CANARIES[0], out, redactor)
    write(report, out, redactor, {log.name: log})
    found: dict[str, set[str]] = {}
    for canary in CANARIES:
        forms = {canary.encode(), json.dumps(canary)[1:-1].encode()}
        names = {file.name for file in out.iterdir() if any(form in file.read_bytes() for form in forms)}
        if names:
            found[canary] = names
    return found


def test_checkpoint_is_what_stands_after_a_kill(tmp_path: Path) -> None:
    report = partial("run-7", utc_now(), slot="hut-01", commit_sha="0" * 40)
    document = read(checkpoint(report, "flash", tmp_path, Redactor()))
    assert problems(document) == []
    assert document["hardware"]["partial"] is True
    assert document["human_summary"] == "lab error: the run was killed during flash"
    assert (document["status"], document["exit_code"]) == ("failed", 70)
    assert "<error" in (tmp_path / "junit.xml").read_text()


def test_checkpoint_keeps_what_is_known(tmp_path: Path) -> None:
    """Attempts made so far survive a kill; a verdict formed so far does not."""
    document = read(checkpoint(samples()["pass"], "publish", tmp_path, Redactor()))
    assert problems(document) == []
    assert len(document["hardware"]["attempts"]) == 1
    assert document["hardware"]["verdict"]["evidence"] == {"id": "killed", "fields": {"stage": "publish"}}


CHILD = """
import dataclasses, sys
from pathlib import Path
from hut_ci.reports.redaction import Redactor
from hut_ci.stages.report import checkpoint, clear, partial, write
from hut_ci.units import utc_now
out, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0
def barrier(event, arguments):
    global seen
    if event == "os.rename" and str(arguments[1]).endswith(name):
        seen += 1
        if seen == number:
            print("reached", flush=True)
            sys.stdin.read()
sys.addaudithook(barrier)
report = partial("run-7", utc_now(), slot="hut-01")
checkpoint(report, "claim", out, Redactor())
checkpoint(report, "flash", out, Redactor())
write(dataclasses.replace(report, partial=False), out, Redactor(), {})
"""


@pytest.mark.parametrize(
    ("name", "number", "stage"),
    [("report.json", 2, "claim"), ("report.json", 3, "flash"), ("junit.xml", 3, "flash"), ("summary.md", 2, "claim")],
)
def test_sigkill_before_a_rename(tmp_path: Path, name: str, number: int, stage: str) -> None:
    """Security 22: killed at the barrier before a rename, the report of the stage before it stands, valid."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), name, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"reached\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    document = read(tmp_path / "report.json")
    assert problems(document) == []
    assert document["human_summary"] == f"lab error: the run was killed during {stage}"
    final = write(dataclasses.replace(samples()["pass"]), tmp_path, Redactor(), {})
    assert read(final)["status"] == "success"
    assert not list(tmp_path.glob(".*.part"))


def test_clear_leaves_nothing_of_an_earlier_run(tmp_path: Path) -> None:
    """An old green report can never be taken for the next run's; other people's files stay."""
    write(samples()["pass"], tmp_path, Redactor(), {})
    (tmp_path / "attempt-1-serial.txt").touch()
    (tmp_path / "notes.txt").touch()
    clear(tmp_path)
    clear(tmp_path / "absent")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_cancelled_while_writing(tmp_path: Path) -> None:
    """An exception in the middle leaves the old report and no half file."""
    write(samples()["fail"], tmp_path, Redactor(), {})
    before = (tmp_path / "report.json").read_bytes()
    (tmp_path / "junit.xml").unlink()
    (tmp_path / "junit.xml").mkdir()
    with pytest.raises(OSError, match=r"junit\.xml"):
        write(samples()["pass"], tmp_path, Redactor(), {})
    assert (tmp_path / "report.json").read_bytes() == before
