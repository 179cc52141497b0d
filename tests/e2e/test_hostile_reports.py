"""Whatever a board, a build or its author wrote into a report: what both forges show of it is text, and bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from hostile import TEXTS
from rendered import ALIVE, is_command, rendered
from upstream import GITHUB, GITHUB_TOKEN, GITLAB, GITLAB_TOKEN, NAME, token_for

from hut_ci.stages.request import read_request

RUNS = Path(__file__).parents[1] / "data" / "reports" / "runs"
SHA = "0123456789abcdef0123456789abcdef01234567"
LONG = "::error::@octocat <b> " * 50_000
"""About a megabyte."""
SENTENCES = [*(text for text in TEXTS[1:] if len(text) < 500), "$(touch owned)", "`touch owned`; touch owned"]
EACH = [" ".join(SENTENCES[start : start + 9]) for start in range(0, len(SENTENCES), 9)]
"""Several at once: each publication is a process and some calls. What one of them does is seen beside the others."""


def hostile(text: str, digest: str) -> dict[str, Any]:
    """A recorded failure with `text` wherever it came from outside, and all of the others as cases."""
    document: dict[str, Any] = json.loads((RUNS / "fail.json").read_text())
    hardware = document["hardware"]
    case = hardware["cases"][0]
    hardware["cases"] = [{**case, "name": other, "reason": other} for other in (text, *TEXTS[1:], LONG[:2000])]
    hardware["attempts"][-1]["suite"]["last_lines"] = [text, *TEXTS[1:], LONG[:2000]]
    hardware["attempts"][0]["stages"][0].update(reason=text)
    hardware["recovery_events"][0].update(detail=text)
    hardware["boot"].update(version=text)
    hardware["artifact"].update(name=text)
    hardware["verdict"].update(sentence=text)
    hardware.update(notes=[text], request_digest=digest)
    document.update(human_summary=text, next_action=text)
    return document


def publish(hut_ci: HutCi, folder: Path, forge: str, change: str, text: str) -> str:
    asked = folder / "request.json"
    pairs = [{"slot": "hut-01"}]
    document = {"schema_version": "hut.request.v1", "commit_sha": SHA, "publish": [forge], "pairs": pairs}
    asked.write_text(json.dumps({**document, change: 12, "not_after": "2999-01-01T00:00:00Z"}))
    report = folder / "report.json"
    report.write_text(json.dumps(hostile(text, read_request(str(asked)).digest)))
    answer = hut_ci("report", "publish", report, "--request", asked)
    assert answer.code == 0, answer
    assert "is no valid" not in answer.stderr, "the report has to be shown, not refused"
    return str(answer.stdout + answer.stderr)


def check(printed: str, comment: str, descriptions: list[str], most: int, folder: Path) -> None:
    assert not [line for line in printed.splitlines() if is_command(line)]
    page = rendered(comment.partition("\n")[2])
    assert not {"script", "img", "a", "b", "h1", "!--"} & set(page.tags)
    assert not ALIVE.search(page.prose.replace("http", "")), page.prose
    assert len(comment) < 65_536
    assert descriptions
    for description in descriptions:
        assert 0 < len(description) <= most
        assert description.isprintable()
    assert not list(folder.rglob("owned"))


@pytest.mark.real
@pytest.mark.parametrize("number", range(len(EACH)))
def test_security_13_on_github(number: int, github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    github.add_token(GITHUB_TOKEN)
    repo = github.repository(NAME, id=1001)
    repo.add_commit(SHA)
    repo.add_pull(12, head_sha=SHA)
    token_for(hut_ci, github)
    printed = publish(hut_ci, tmp_path, GITHUB, "pull_request", EACH[number])
    (comment,) = repo.comments(12)
    check(printed, comment["body"], [status["description"] for status in repo.statuses(SHA)], 140, tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("number", range(len(EACH)))
def test_security_13_on_gitlab(number: int, gitlab: FakeGitLab, hut_ci: HutCi, tmp_path: Path) -> None:
    gitlab.add_token(GITLAB_TOKEN, username="project_7_bot", kind="project", scopes=["api"], access_level=40)
    project = gitlab.project(NAME, id=7)
    project.add_commit(SHA)
    project.set_branch("feature", SHA)
    request = project.add_merge_request(12, sha=SHA, source_branch="feature", target_branch="main")
    token_for(hut_ci, gitlab=gitlab)
    printed = publish(hut_ci, tmp_path, GITLAB, "pull_request", EACH[number])
    (note,) = project.notes(12)
    check(printed, note["body"], [status["description"] for status in project.statuses(SHA)], 255, tmp_path)
    assert request.quick_actions == []


@pytest.mark.real
def test_a_report_of_a_megabyte_of_commands_is_bounded(github: FakeGitHub, hut_ci: HutCi, tmp_path: Path) -> None:
    github.add_token(GITHUB_TOKEN)
    repo = github.repository(NAME, id=1001)
    repo.add_commit(SHA)
    repo.add_pull(12, head_sha=SHA)
    token_for(hut_ci, github)
    printed = publish(hut_ci, tmp_path, GITHUB, "pull_request", LONG)
    (comment,) = repo.comments(12)
    check(printed, comment["body"], [status["description"] for status in repo.statuses(SHA)], 140, tmp_path)
    assert len(printed) < 65_536


def test_security_28_what_is_not_escaped_is_seen(tmp_path: Path) -> None:
    """The control: the same text as it came."""
    with pytest.raises(AssertionError):
        check(EACH[0], "marker\nfine", ["fine"], 140, tmp_path)
    for text in ("<script>alert(1)</script>", "@octocat", "[click](http://evil.example)"):
        with pytest.raises(AssertionError):
            check("fine", f"marker\n{text}", ["fine"], 140, tmp_path)
    with pytest.raises(AssertionError):
        check("fine", "marker\nfine", ["a\x1b[31mb"], 140, tmp_path)
