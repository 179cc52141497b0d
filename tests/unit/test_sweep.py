"""Pending statuses that nobody will end (security 22)."""

from __future__ import annotations

import pytest

from hut_ci.errors import PublishError
from hut_ci.stages.publish import Posted, due
from hut_ci.stages.sweep import overdue, sweep

SHA = "a" * 40
OURS = ("hardware / {slot}", "hardware")
NOW = "2026-02-12T15:30:00.000Z"
PAST, FUTURE = "2026-02-12T15:29Z", "2026-02-12T15:31Z"


def status(text: str, state: str = "pending", context: str = "hardware / hut-01") -> Posted:
    return Posted(context, state, text, "https://ci.example/1")


class Forge:
    vocabulary = "github"
    description_limit = 140

    def __init__(self, *found: Posted) -> None:
        self.found, self.posted = list(found), []

    def statuses(self, _sha: str) -> list[Posted]:
        return self.found

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None) -> None:
        self.posted.append((sha, context, state, description, target_url))


@pytest.mark.parametrize(
    ("posted", "late"),
    [
        (status(f"flashing and testing, answer by {PAST}"), True),
        (status("waiting, answer by 2026-02-12T15:29:59.999Z"), True),
        (status(f"all, answer by {PAST}", context="hardware"), True),
        (status(f"flashing and testing, answer by {FUTURE}"), False),
        (status(f"answer by {PAST}", state="success"), False),
        (status(f"answer by {PAST}", context="build"), False),
        (status("pending, and no time is named"), False),
        (status(f"answer by {PAST} or later"), False),
        (status("x, answer by 2026-13-45T99:99Z"), False),
    ],
)  # fmt: skip
def test_what_is_overdue(posted: Posted, late: bool) -> None:
    assert bool(overdue([posted], OURS, NOW, "github")) is late


def test_an_overdue_one_becomes_an_error() -> None:
    forge = Forge(status(f"waiting, answer by {PAST}"), status("pass: all", "success", "hardware / hut-02"))
    (ended,) = sweep(forge, [SHA], (), NOW).ended  # type: ignore[arg-type]
    assert (ended.state, ended.context) == ("error", "hardware / hut-01")
    assert forge.posted == [(SHA, "hardware / hut-01", "error", ended.description, "https://ci.example/1")]
    assert ended.description.startswith(f"blocked: no answer from the lab by {PAST}")


@pytest.mark.parametrize("limit", [140, 255])
def test_the_time_survives_the_limit(limit: int) -> None:
    text = due("x" * 500, PAST, limit)
    assert len(text) <= limit
    assert overdue([status(text)], OURS, NOW, "github")


def test_one_commit_that_cannot_be_read_does_not_stop_the_others() -> None:
    class Broken(Forge):
        def statuses(self, sha: str) -> list[Posted]:
            if sha == "b" * 40:
                raise PublishError("HTTP 422")
            return self.found

    swept = sweep(Broken(status(f"waiting, answer by {PAST}")), ["b" * 40, SHA], (), NOW)  # type: ignore[arg-type]
    assert [ended.sha for ended in swept.ended] == [SHA]
    assert [error.what for error in swept.troubles] == ["HTTP 422"]


def test_without_a_template_whatever_names_its_time_is_ours() -> None:
    """A request may have named the context."""
    assert overdue([status(f"waiting, answer by {PAST}", context="lab/board-1")], (), NOW, "github")
