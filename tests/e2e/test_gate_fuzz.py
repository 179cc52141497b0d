"""Whatever is written in comments, labels, names of users and of branches: the gate's answers stay its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fakes.github import FakeGitHub
from fakes.github_state import Repository
from hostile import TEXTS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rendered import ALIVE, is_command, rendered
from test_github_events import HEAD, answer, begin, replies

from hut_ci.stages.comment import MARKER

BARE = "ba" * 20
"""A commit without hut.yml: the answer says which branch has none."""
MARK = "zq7marked"
"""In every text from outside: what is repeated anywhere is seen by it."""
WRITTEN = (st.sampled_from([text for text in TEXTS if len(text) < 1000]) | st.text(max_size=12)).map(
    lambda text: f"{text}{MARK}"
)
COMMANDS = [
    "/hil",
    "/hil hut-01",
    f"/hil @{HEAD}",
    "/hil help",
    "/hil hut-9",
    "> /hil",
    "/hil ;",
    "/hil www.evil.example",
]
COMMENTS = st.lists(WRITTEN | st.sampled_from(COMMANDS), min_size=1, max_size=3).map("\n".join)
LABELS = st.sampled_from(["hil", "hil:hut-01", "hil:www.evil.example"]) | WRITTEN.map(lambda text: f"hil:{text}")
SOME = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The forge stays the same from one example to the next: replies would add up."""
ASKED = {"get_permission", "get_pull", "list_runs", "get_contents", "get_commit"}
ANSWERED = {"get_user", "list_comments", "create_comment", "update_comment", "remove_label"}
MARKED = {"create_status", "get_combined_status", "create_reaction"}


def commented(text: str, login: str) -> dict[str, Any]:
    user = {"login": login, "type": "User"}
    said = {"id": 3_000_000_001, "body": text, "created_at": "2026-02-12T13:00:00Z", "user": user}
    payload = {"action": "created", "issue": {"number": 12, "pull_request": {}}, "comment": said}
    return {"event": "issue_comment", "payload": payload}


def labelled(name: str, login: str, base: str = "main") -> dict[str, Any]:
    payload = {
        "action": "labeled",
        "label": {"name": name},
        "pull_request": {"number": 12, "head": {"sha": HEAD}, "base": {"ref": base}},
        "sender": {"login": login},
    }
    return {"event": "pull_request_target", "payload": payload}


@pytest.fixture
def repo(github: FakeGitHub) -> Repository:
    return begin(github, commented("", "ada"))


@SOME
@given(text=COMMENTS, label=LABELS, login=WRITTEN | st.sampled_from(["mallory", "tri", "..", "", "ada/../tri"]))
def test_who_may_not_write_hears_the_same_whatever_he_writes(
    github: FakeGitHub, repo: Repository, tmp_path: Path, text: str, label: str, login: str
) -> None:
    """security 2-4, 12, 13: one reply, of our words alone; nothing is run, and nothing but GitHub's API is asked."""
    for case in (commented(text, login), labelled(label, login)):
        told = answer(github, case, tmp_path)
        assert told.decision in ("ignored", "help", "refused")
        assert MARK not in told.printed
    assert repo.all_statuses() == []
    assert not any(comment.reactions for comment in repo.posted_comments)
    assert len(set(map(kind, replies(repo)))) == len(replies(repo)) <= 2
    assert not any(MARK in reply or "evil" in reply for reply in replies(repo))
    assert set(github.operations()) <= ASKED | ANSWERED


@pytest.mark.real
@SOME
@given(text=COMMENTS, label=LABELS, branch=WRITTEN)
@example(text="/hil", label="hil", branch="@everyone")
@example(text="/hil", label="hil", branch="x ##[add-mask]e")
@example(text="/hil www.evil.example", label="hil", branch="www.evil.example/#1")
def test_an_answer_mentions_nobody_and_leads_nowhere(
    github: FakeGitHub, repo: Repository, tmp_path: Path, text: str, label: str, branch: str
) -> None:
    """security 12, 13: also who may write, and whoever names a base branch, only ever writes text."""
    repo.add_commit(BARE, files={})
    repo.set_branch(branch, BARE)
    repo.pulls[12].base_ref = branch
    for case in (commented(text, "ada"), labelled(label, "ada", branch)):
        told = answer(github, case, tmp_path)
        assert not any(is_command(line) for line in told.printed.splitlines())
    assert len(set(map(kind, replies(repo)))) == len(replies(repo)) <= 2
    assert [reply for reply in replies(repo) if kind(reply) == "refused" and is_alive(reply)] == []
    assert all(len(status.description or "") <= 140 for status in repo.posted_statuses)
    assert set(github.operations()) <= ASKED | ANSWERED | MARKED


def kind(reply: str) -> str:
    """What the hidden first line says that a reply is about."""
    found = re.fullmatch(MARKER.replace("hardware", r"(\w+)"), reply.partition("\n")[0])
    assert found is not None
    return found[1]


def is_alive(reply: str) -> bool:
    """Whether a forge would notify, link or draw anything in it."""
    page = rendered(reply.partition("\n")[2])
    return set(page.tags) != {"p"} or bool(ALIVE.search(page.prose))


@pytest.mark.parametrize("text", ["@everyone", "see #1", "www.evil.example", "<img src=x>", "**bold**"])
def test_an_answer_that_repeats_is_seen(text: str) -> None:
    """The control."""
    assert is_alive(f"{MARKER}\nNot tested: {text}")
    assert not is_alive(f"{MARKER}\nNot tested: the branch has no hut.yml")
