"""security 15, 16: with tokens set to marker strings, no marker is anywhere but in the header to its own forge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from conftest import Firmware, LabOf
from console_script import Answer, HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from fakes.serving import Call
from upstream import (
    GITHUB,
    GITHUB_TOKEN,
    GITLAB,
    GITLAB_TOKEN,
    HUT,
    HUT_LAB,
    OTHER,
    SHA,
    github_with_decoys,
    gitlab_with_decoys,
    soon,
    token_for,
    zipped,
)

from hut_ci.virtual.app_script import Print

MARKERS = (GITHUB_TOKEN, GITLAB_TOKEN)
# Every program that the process starts, with its environment, as the interpreter itself sees it.
RECORDER = """
import json, os, sys

def note(event, arguments):
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec"):
        environment = arguments[-1] if arguments[-1] is not None else dict(os.environ)
        with open(RECORD, "a") as record:
            print(json.dumps([event, repr(arguments[:2]), repr(environment)]), file=record)

sys.addaudithook(note)
"""


def recorded(hut_ci: HutCi) -> Path:
    """Let `hut_ci` note what it starts; the file with the notes."""
    folder, record = hut_ci.folder / "recorder", hut_ci.folder / "started.txt"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(RECORDER.replace("RECORD", repr(str(record))))
    hut_ci.environ["PYTHONPATH"] = str(folder)
    return record


def leaks(answer: Answer, folders: list[Path], record: Path, calls: dict[str, list[Call]]) -> list[str]:
    """Where a marker is that must not be there. `calls` are requests by the marker that their header may hold."""
    found = [f"printed: {m}" for m in MARKERS for text in (answer.stdout, answer.stderr) if m in text]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found += [f"{path}" for path in files for m in MARKERS if m.encode() in path.read_bytes()]
    found += [f"started: {line}" for line in record.read_text().splitlines() if any(m in line for m in MARKERS)]
    for own, requests_ in calls.items():
        for call in requests_:
            shown = {name: text for name, text in call.headers.items() if name != "Authorization"}
            words = [call.target, repr(shown), call.body.decode("utf-8", "replace")]
            words += [] if call.header("Authorization") == f"Bearer {own}" else [call.header("Authorization")]
            words = [word.replace(f"token {own}", "") for word in words]
            found += [f"request {call.method} {call.path}" for m in MARKERS if any(m in word for word in words)]
    return found


@pytest.mark.real
def test_no_token_is_anywhere_else(
    github: FakeGitHub, gitlab: FakeGitLab, lab_of: LabOf, hut_ci: HutCi, firmware: Firmware
) -> None:
    """Artifacts through a redirect, statuses on both forges, a comment, and a board that prints the tokens."""
    content = zipped(firmware(Print(f"tokens {GITHUB_TOKEN} {GITLAB_TOKEN}"), "hello"))
    repo = github_with_decoys(github, content, hut=soon(HUT))
    repo.add_pull(12, head_sha=SHA, base_ref="main")
    repo.add_commit(OTHER, files={"hut.yml": HUT})
    project = gitlab_with_decoys(gitlab, content, hut=soon(HUT_LAB))
    project.add_merge_request(12, sha=SHA, source_branch="feature", target_branch="main")
    token_for(hut_ci, github, gitlab)
    record = recorded(hut_ci)
    lab = lab_of(faults={"hut-01": ["needs_power_cycle"]})
    for forge in (GITHUB, GITLAB):
        out = hut_ci.next_out()
        answer = hut_ci(
            *("run", "--commit", SHA, "--forge", forge, "--publish", GITHUB, "--publish", GITLAB),
            *("--pull-request", 12, "--slot", "hut-01", "--lab", lab.lab_yml, "--out", out, "--progress", "json"),
            out=out,
        )
        assert answer.hardware["verdict"]["name"] == "fail", answer
        state = Path(answer.out)
        calls = {
            GITHUB_TOKEN: list(github.calls),
            GITLAB_TOKEN: list(gitlab.calls),
            "none": [*github.blobs.calls, *gitlab.blobs.calls],
        }
        # The cache holds the artifact's bytes as they are: the marker is in the image that the board was given.
        assert leaks(answer, [state, hut_ci.folder / "home"], record, calls) == []
    assert "tokens [redacted] [redacted]" in answer.stderr, "the negative control: what the board prints is told"
    assert github.blobs.credentials_received + gitlab.blobs.credentials_received == []
    assert repo.comments(12)
    assert len(record.read_text().splitlines()) >= 4, "the negative control: programs were started and noted"


def test_a_planted_leak_is_found(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    """The negative control of `leaks`, in each place that it looks at."""
    github.add_token(GITHUB_TOKEN)
    requests.get(f"{github.url}/user?token={GITHUB_TOKEN}", timeout=5)
    requests.get(f"{github.url}/user", headers={"PRIVATE-TOKEN": GITHUB_TOKEN}, timeout=5)
    requests.get(f"{github.url}/user", headers={"Authorization": f"Bearer {GITLAB_TOKEN}"}, timeout=5)
    requests.get(f"{github.url}/user", headers={"Authorization": f"Bearer {GITHUB_TOKEN}"}, timeout=5)
    out = tmp_path / "planted"
    out.mkdir()
    (out / "log.txt").write_text(f"x {GITHUB_TOKEN} y")
    record = tmp_path / "started.txt"
    record.write_text(json.dumps(["subprocess.Popen", "()", repr({"GITHUB_TOKEN": GITHUB_TOKEN})]) + "\n")
    answer = Answer(0, "", f"error: {GITLAB_TOKEN}", out)
    found = leaks(answer, [out], record, {GITHUB_TOKEN: list(github.calls)})
    assert len(found) == 6, found
