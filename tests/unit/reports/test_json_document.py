"""The document that all other formats are made from."""

import dataclasses
import getpass
import json
import socket
from datetime import datetime

import pytest
from report_samples import PANIC, RUNS, SHA, attempt, document, report, samples

from hut_ci.errors import ConfigError
from hut_ci.model import Evidence
from hut_ci.reports.json_document import LONGEST_STRING, problems, read, to_bytes, to_document
from hut_ci.stages.verdict import judge


@pytest.mark.parametrize("name", sorted(samples()))
def test_recorded_document(name: str) -> None:
    """A change of the format shows as a change of the recorded files."""
    assert (RUNS / f"{name}.json").read_bytes() == to_bytes(document(samples()[name]))


def test_every_recorded_document_has_its_sample() -> None:
    assert {path.stem for path in RUNS.iterdir()} == set(samples())


def test_echoes_and_duration() -> None:
    """WS2-13: job, lock key and role are echoed, the duration is end minus start."""
    made = to_document(samples()["fail"])
    assert (made["job_id"], made["lock_key"], made["agent_role"]) == ("run-0001", "hut-01", "runner")
    start, end = (datetime.fromisoformat(made[key]) for key in ("start_utc", "end_utc"))
    assert made["duration_sec"] == (end - start).total_seconds() == 7.5


def test_executor_is_this_host_and_user() -> None:
    executor = to_document(samples()["pass"])["executor"]
    assert executor == {"hostname": socket.gethostname(), "user": getpass.getuser()}


def test_summary_has_what_a_hardware_run_owes() -> None:
    """WS10-8: commit, lane, slot, power-cycle count and recovery events."""
    hardware = to_document(samples()["recovered"])["hardware"]
    assert (hardware["commit_sha"], hardware["lane"], hardware["slot"]) == (SHA, "local-hil", "hut-01")
    assert hardware["power_cycle_count"] == 1
    assert [(event["step"], event["cause"]) for event in hardware["recovery_events"]] == [("power_cycle", "no_sync")]


def test_cases_and_boot_are_those_of_the_last_attempt() -> None:
    hardware = to_document(samples()["flaky"])["hardware"]
    assert [case["outcome"] for case in hardware["cases"]] == ["pass", "pass", "pass"]
    assert hardware["boot"]["partition"] == "factory"


def test_no_path_of_the_lab_host() -> None:
    """Only names inside the report's folder: a path of the lab helps nobody else."""
    for sample in samples().values():
        assert b"/srv/private" not in to_bytes(to_document(sample))


def test_without_slot_and_commit() -> None:
    """Refused before anything was claimed: still a valid report."""
    bare = report(
        judge(Evidence("no_artifact", {"what": "no run"})),
        **dict.fromkeys(("slot", "label", "commit_sha", "built_sha", "artifact", "plan", "board"), None),
        lock_key="",
        logs={},
    )
    made = to_document(bare)
    assert problems(made) == []
    assert (made["commit_sha"], made["lock_key"], made["hardware"]["commit_sha"]) == ("none", "none", None)


def test_hostile_values_leave_it_valid() -> None:
    """Security 20: what a board prints can neither break nor bloat the document."""
    lines = ("\ud800 lone surrogate", "\x00\x1b]0;title\x07", "x" * 10 * LONGEST_STRING)
    endless = dataclasses.replace(attempt(1, PANIC, lines=lines).stages[0], seconds=float("inf"))
    hostile = dataclasses.replace(attempt(1, PANIC, lines=lines), stages=(endless,))
    raw = to_bytes(to_document(report(judge(PANIC), attempts=(hostile,))))
    made = json.loads(raw)
    assert problems(made) == []
    assert made["hardware"]["attempts"][0]["suite"]["last_lines"][0] == "\ufffd lone surrogate"
    assert len(raw) < 3 * LONGEST_STRING
    assert all(byte in b"\n" or 32 <= byte < 127 for byte in raw)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pass", ""),
        ("recovered", "needed recovery"),
        ("fail", "firmware has to change"),
        ("error", "lab's operator"),
        ("config", "Correct hut.yml"),
        ("blocked", "Run again when slot hut-01 is free"),
        ("cancelled", "Run again"),
    ],
)
def test_next_action(name: str, words: str) -> None:
    action = to_document(samples()[name])["next_action"]
    assert words in action
    assert bool(action) == bool(words)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_read_refuses_what_is_no_json(tmp_path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.todo
