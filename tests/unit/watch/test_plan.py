"""Who is served next, what is dropped, and when runs may begin."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.stages.finding import Finding
from hut_ci.stages.trigger import Event
from hut_ci.watch.job import ANSWERED, HANDED, OPEN, Job, JobPair
from hut_ci.watch.plan import catch_up, limit, open_at, pause_seconds, runs_left, superseded, turns


def job(name: str, created: float, *slots: str, **more: Any) -> Job:
    pairs = tuple(JobPair(number, *slot.split(":")) for number, slot in enumerate(slots or ("hut-01",)))
    values = {"repository": "a", "line": name, "commit_sha": name * 40, "state": OPEN, **more}
    return Job(id=name, document={}, pairs=pairs, created=created, **values)


def test_one_pair_for_each_free_slot_first_come_first_served() -> None:
    jobs = [job("1", 1.0, "hut-01", "hut-02"), job("2", 0.5, "hut-01"), job("3", 0.2, f"hut-03:{HANDED}", "hut-03")]
    chosen = [(turn.job.id, turn.pair.slot) for turn in turns(jobs, {}, {})]
    assert chosen == [("2", "hut-01"), ("1", "hut-02")]


def test_repositories_take_turns() -> None:
    """Fifty of one do not keep another's only one waiting."""
    many = [job(str(number), number, repository="many") for number in range(50)]
    one = job("x", 100.0, repository="one")
    assert [turn.job.id for turn in turns([*many, one], {"many": 5.0, "one": 1.0}, {})] == ["x"]
    assert [turn.job.id for turn in turns([*many, one], {"many": 5.0, "one": 6.0}, {})] == ["0"]


def test_two_slots_go_to_two_repositories() -> None:
    both = [job(name, at, "hut-01", "hut-02", repository=name) for name, at in (("p", 1.0), ("q", 2.0))]
    assert [turn.job.id for turn in turns(both, {}, {})] == ["p", "q"]


def test_the_days_limit_counts_each_pair() -> None:
    assert [turn.pair.slot for turn in turns([job("1", 1.0, "hut-01", "hut-02")], {}, {"a": 1})] == ["hut-01"]
    assert runs_left([0.0, 50.0, 86401.0], 3, 86402.0) == 1


def test_other_jobs_keep_their_slots() -> None:
    assert turns([job("1", 1.0)], {}, {}, [job("2", 0.0, f"hut-01:{HANDED}")]) == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(["s1", "s2"])), max_size=30))
def test_no_slot_is_given_twice_and_none_that_could_be_used_stays_free(asked: list[tuple[str, int, str]]) -> None:
    jobs = [job(str(n), at, slot, repository=name) for n, (name, at, slot) in enumerate(asked)]
    slots = [turn.pair.slot for turn in turns(jobs, {}, {})]
    assert sorted(slots) == sorted({slot for _, _, slot in asked})


def test_a_newer_commit_of_a_line_supersedes_older_ones() -> None:
    first, second = job("1", 1.0, line="branch:main"), job("2", 2.0, line="branch:main")
    other = job("3", 3.0, line="pull:1")
    again = job("4", 4.0, line="branch:main", commit_sha="2" * 40)
    assert superseded([first, second, other]) == {"1": "2" * 40}
    assert superseded([first, second, again, other]) == {"1": "2" * 40}
    assert superseded([job("1", 1.0, f"hut-01:{ANSWERED}"), other]) == {}


def test_of_what_came_during_an_outage_the_newest_push_counts_and_every_question() -> None:
    pushes = [Finding(str(n), "branch:main", Event("push", commit_sha=str(n) * 40)) for n in (1, 2, 3)]
    asked = Finding("c", "branch:main", Event("comment", sender="ada"))
    assert catch_up([*pushes[:2], asked, pushes[2]]) == {"1": "3" * 40, "2": "3" * 40}


@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        (None, "03:00", "03:00"),
        ((420, 1320), "07:00", "07:00"),
        ((420, 1320), "06:59", "07:00"),
        ((420, 1320), "22:00", "next 07:00"),
        ((1320, 390), "23:30", "23:30"),
        ((1320, 390), "06:29", "06:29"),
        ((1320, 390), "06:30", "22:00"),
    ],
)
def test_hours(hours: tuple[int, int] | None, now: str, opens: str) -> None:
    day = 13 if opens.startswith("next") else 12
    clock = datetime.fromisoformat(f"2026-02-12T{now}:00+00:00")
    wanted = datetime.fromisoformat(f"2026-02-{day}T{opens[-5:]}:00+00:00")
    assert open_at(hours, clock) == wanted.astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "now", "ends"),
    [
        (None, "12T23:00", "13T05:00"),
        ((420, 1320), "12T12:00", "12T18:00"),
        ((420, 1320), "12T16:00", "12T22:00"),
        ((420, 1320), "12T21:59", "13T13:00"),
        ((420, 1320), "12T23:00", "13T13:00"),
        ((420, 540), "12T06:00", "13T13:00"),
        ((1320, 390), "12T23:30", "13T05:30"),
        ((1320, 390), "12T06:29", "13T04:00"),
    ],
)
def test_a_time_limit_leaves_out_the_night(hours: tuple[int, int] | None, now: str, ends: str) -> None:
    """What the end of the hours overtakes begins when they do, and so does its time limit."""
    found = limit(hours, datetime.fromisoformat(f"2026-02-{now}:00+00:00"), 6 * 3600.0)
    assert found == datetime.fromisoformat(f"2026-02-{ends}:00+00:00")


@given(st.integers(1, 10**6))
def test_pauses_grow_to_a_quarter_of_an_hour_and_no_further(failures: int) -> None:
    assert pause_seconds(1, 30.0) == 30.0
    assert pause_seconds(failures, 30.0) <= pause_seconds(failures + 1, 30.0) <= 900.0
