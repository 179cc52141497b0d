"""security 22: what the gate posted as pending is an error where the request does not get any further."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from hut_ci.errors import Cancelled, HutCiError, PublishError, UsageError
from hut_ci.stages.gate import announced, job_minutes, matrix
from hut_ci.stages.request import from_document

REQUEST = from_document(
    {
        "schema_version": "hut.request.v1",
        "repository": "ada/firmware",
        "builds": "github:ada/firmware",
        "publish": ["github:ada/firmware"],
        "commit_sha": "5e" * 20,
        "not_after": "2099-01-01T00:00:00Z",
        "pairs": [{"slot": "hut-01"}, {"slot": "hut-02"}],
    },
    "the request",
)


@dataclass
class Statuses:
    """A forge's statuses of one commit; `room` is how many it takes before it fails with `failure`."""

    room: int = 100
    failure: HutCiError = field(default_factory=lambda: PublishError("no room"))
    vocabulary: str = "github"
    description_limit: int = 140
    stands: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def set_status(self, sha: str, context: str, state: str, description: str, target_url: str | None) -> None:
        assert (sha, target_url) == (REQUEST.commit_sha, REQUEST.run_url)
        assert len(description) <= self.description_limit
        self.room -= 1
        if self.room == -1:
            raise self.failure
        self.stands[context], self.texts[context] = state, description


def opened(*forges: Statuses) -> list[Callable[[], Statuses]]:
    return [lambda forge=forge: forge for forge in forges]  # type: ignore[misc]  # mypy infers no default


class Hurried(Statuses):
    """One whose time is over: the next request of the same opening is too late."""

    def set_status(self, *arguments: Any) -> None:
        if self.room <= 0:
            raise PublishError("no time is left")
        super().set_status(*arguments)


def test_what_is_taken_back_has_time_of_its_own() -> None:
    stands: dict[str, str] = {}
    openings = [Hurried(room=1, stands=stands), Hurried(room=9, stands=stands)]
    with pytest.raises(PublishError, match="no time"), announced(REQUEST, [lambda: openings.pop(0)]):
        pytest.fail("it was handed on")
    assert stands
    assert set(stands.values()) == {"error"}


def test_what_is_handed_on_stays_pending() -> None:
    forge = Statuses()
    with announced(REQUEST, [lambda: forge]):
        assert set(forge.stands.values()) == {"pending"}
    assert {"hardware / hut-01", "hardware / hut-02"} <= set(forge.stands)
    assert set(forge.stands.values()) == {"pending"}


def test_what_cannot_be_served_is_final_at_once_and_stays() -> None:
    first, second = REQUEST.pairs
    request = replace(REQUEST, pairs=(first, replace(second, label="esp32-hut-02", blocked="runner_offline")))
    forge = Statuses()
    with announced(request, [lambda: forge]):
        assert forge.stands == {"hardware / hut-01": "pending", "hardware / hut-02": "error", "hardware": "pending"}
    assert [leg["slot"] for leg in matrix(request)["include"]] == ["hut-01"]
    with pytest.raises(OSError, match="full"), announced(request, [lambda: forge]):
        raise OSError(28, "full")
    told = {context: text.partition(":")[0] for context, text in forge.texts.items()}
    assert told == {"hardware / hut-01": "lab error", "hardware / hut-02": "blocked", "hardware": "lab error"}


@pytest.mark.parametrize("error", [Cancelled(signal.SIGTERM), UsageError("no such folder"), OSError(28, "full")])
def test_what_is_not_handed_on_is_an_error(error: Exception) -> None:
    forges = [Statuses(), Statuses()]
    with pytest.raises(type(error)), announced(REQUEST, opened(*forges)):
        raise error
    assert [set(forge.stands.values()) for forge in forges] == [{"error"}, {"error"}]


@pytest.mark.parametrize("failure", [PublishError("no room"), Cancelled(signal.SIGINT)])
def test_where_the_second_status_fails_the_first_is_an_error(failure: HutCiError) -> None:
    forges = [Statuses(), Statuses(room=1, failure=failure)]
    with pytest.raises(type(failure)), announced(REQUEST, opened(*forges)):
        pytest.fail("it was handed on")
    assert all(set(forge.stands.values()) == {"error"} for forge in forges)


@pytest.mark.parametrize(("limit", "minutes"), [(1, 11), (60, 11), (61, 12), (1800, 40), (86400, 1450)])
def test_a_job_outlives_its_run(limit: float, minutes: int) -> None:
    """security 22: a job that is cut off cannot report."""
    assert job_minutes(limit) == minutes
    assert 60 * minutes - limit >= 600
