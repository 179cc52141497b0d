"""security 2-5: attacks on the gate that must not get through, and planted holes that let at least one of them through.

An attack that no planted hole admits would prove nothing; a hole that no attack finds would not be seen in our code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest

from hut_ci.errors import Refused
from hut_ci.model import PullRequest
from hut_ci.stages.spoken import Command, in_comment
from hut_ci.stages.trigger import Ask, Event, Forks, allow

HEAD, OLD, STRANGERS = "5e" * 20, "0f" * 20, "66" * 20
BEFORE, AT, AFTER = "2026-02-12T12:00:00Z", "2026-02-12T12:00:01Z", "2026-02-12T12:00:02Z"
PULL = PullRequest(12, HEAD, "main", from_fork=False)
FORK = replace(PULL, from_fork=True)
COMMENT = Event("comment", pull_request=12, sender="ada", comment_id="7", at=AT)
LABEL = Event("label", commit_sha=HEAD, pull_request=12, sender="ada", label="hil", base_ref="main")


@dataclass(frozen=True)
class Forge:
    """What a forge knows: one pull request, who may write, and when each commit's first build was created."""

    pull: PullRequest = PULL
    writers: tuple[str, ...] = ("ada",)
    built: str | None = BEFORE

    def may_write(self, user: str) -> bool:
        return user in self.writers

    def pull_request(self, number: int) -> PullRequest:
        return replace(self.pull, number=number)

    def first_build(self, sha: str) -> str | None:
        return self.built if sha == self.pull.head_sha else None


Decide = Callable[[Event, Forge, Forks], Ask]
Attack = tuple[Event, Forge, Forks]


def naming(sha: str, event: Event = COMMENT) -> Event:
    return replace(event, command=Command((), sha))


ATTACKS: dict[str, Attack] = {
    "a comment of a stranger": (replace(COMMENT, sender="mallory"), Forge(), "asked"),
    "a label of who may only triage": (replace(LABEL, sender="tri"), Forge(), "asked"),
    "a stranger's comment on a fork that names its commit": (
        replace(naming(HEAD), sender="mallory"),
        Forge(FORK),
        "asked",
    ),
    "a name that differs in case": (replace(COMMENT, sender="ADA"), Forge(), "asked"),
    "a push between the label and the gate": (LABEL, Forge(replace(PULL, head_sha=STRANGERS)), "asked"),
    "a push to a fork between the label and the gate": (LABEL, Forge(replace(FORK, head_sha=STRANGERS)), "asked"),
    "another base between the label and the gate": (LABEL, Forge(replace(FORK, base_ref="old")), "asked"),
    "a push between the look and the comment": (COMMENT, Forge(built=AFTER), "asked"),
    "a push in the second of the comment": (COMMENT, Forge(built=AT), "asked"),
    "a head that was never built": (COMMENT, Forge(built=None), "asked"),
    "a fork's head that was built before": (COMMENT, Forge(FORK), "asked"),
    "a commit of another request": (naming(OLD), Forge(), "asked"),
    "a fork where forks are not tested": (naming(HEAD), Forge(FORK), "never"),
    "a request that was closed": (LABEL, Forge(replace(PULL, open=False)), "asked"),
}


def through(decide: Decide, attacks: Iterable[str] = ATTACKS) -> set[str]:
    """The attacks that `decide` lets through."""
    found = set()
    for name in attacks:
        try:
            decide(*ATTACKS[name])
        except Refused:
            continue
        found.add(name)
    return found


def test_no_attack_gets_through() -> None:
    assert through(allow) == set()


@dataclass(frozen=True)
class Believing(Forge):
    """Takes the event's word for its sender."""

    def may_write(self, user: str) -> bool:
        return bool(user)


@dataclass(frozen=True)
class Forgetful(Forge):
    """Does not know when a commit was built, and says "long ago"."""

    def first_build(self, sha: str) -> str | None:
        return BEFORE if sha else None


@dataclass(frozen=True)
class Blind(Forge):
    """Does not tell a fork's request from the repository's own."""

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), from_fork=False)


@dataclass(frozen=True)
class Following(Forge):
    """Gives the head that an event speaks of, whatever stands there now."""

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), head_sha=HEAD)


@dataclass(frozen=True)
class Constant(Forge):
    """Gives the base that an event speaks of, whatever the request goes into now."""

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), base_ref="main")


@dataclass(frozen=True)
class Reopening(Forge):
    """Takes every request for an open one."""

    def pull_request(self, number: int) -> PullRequest:
        return replace(super().pull_request(number), open=True)


def with_forge(kind: type[Forge]) -> Decide:
    return lambda event, forge, forks: allow(event, kind(forge.pull, forge.writers, forge.built), forks)


def with_any_commit(event: Event, forge: Forge, forks: Forks) -> Ask:
    """Believes the commit that is named without a look at the request."""
    named = event.command.sha or event.commit_sha or forge.pull.head_sha
    return allow(event, replace(forge, pull=replace(forge.pull, head_sha=named)), forks)


HOLES: dict[str, tuple[Decide, set[str]]] = {
    "the sender is believed": (
        with_forge(Believing),
        {
            "a comment of a stranger",
            "a label of who may only triage",
            "a stranger's comment on a fork that names its commit",
            "a name that differs in case",
        },
    ),
    "builds have no time": (
        with_forge(Forgetful),
        {
            "a push between the look and the comment",
            "a push in the second of the comment",
            "a head that was never built",
        },
    ),
    "forks are not seen": (
        with_forge(Blind),
        {"a fork's head that was built before", "a fork where forks are not tested"},
    ),
    "a head may move": (
        with_forge(Following),
        {"a push between the label and the gate", "a push to a fork between the label and the gate"},
    ),
    "a commit is not compared": (
        with_any_commit,
        {
            "a push between the label and the gate",
            "a push to a fork between the label and the gate",
            "a commit of another request",
        },
    ),
    "a base may change": (with_forge(Constant), {"another base between the label and the gate"}),
    "a request is always open": (with_forge(Reopening), {"a request that was closed"}),
}


@pytest.mark.parametrize("hole", HOLES)
def test_a_planted_hole_is_found(hole: str) -> None:
    decide, expected = HOLES[hole]
    assert through(decide) == expected


def test_every_attack_has_a_hole_that_it_goes_through() -> None:
    assert set().union(*(expected for _, expected in HOLES.values())) == set(ATTACKS)


def test_a_looser_grammar_would_run_what_is_none() -> None:
    """security 2: each of these is a command for a reader that forgives one thing; ours forgives nothing."""
    forgiven: dict[str, Callable[[str], str]] = {
        "> /hil": lambda text: text.removeprefix("> "),
        " /hil": str.strip,
        "/HIL": str.lower,
        "/hil\u2028": lambda text: "\n".join(text.splitlines()),
        "`/hil`": lambda text: text.strip("`"),
        "/hil hut-01;id": lambda text: text.partition(";")[0],
        f"/hil @{HEAD.upper()}": str.lower,
    }
    for text, forgive in forgiven.items():
        assert in_comment(text) is None, text
        assert in_comment(forgive(text)) is not None, text
