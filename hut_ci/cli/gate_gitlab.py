"""What the gate hears on GitLab: what its own pipeline is, and who asked where on a merge request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hut_ci.cli.gate_sources import opened, payload_of
from hut_ci.errors import ConfigError, Refused, UsageError

if TYPE_CHECKING:
    from hut_ci.forges.address import Address
    from hut_ci.forges.gitlab.trigger import GitLabTrigger
    from hut_ci.stages.gitlab_event import Asking, Look
    from hut_ci.stages.trigger import Event, Ignored


def heard_on_gitlab(address: Address, word: str, label: str) -> Event | Ignored:
    """What this job's pipeline asks for, or who asked first on a merge request where it is to look for that.

    Whoever is answered is marked as answered before. Raises Refused and ConfigError where the pipeline, or the
    project's settings, leave no one to believe.
    """
    from hut_ci.cli.forges import open_trigger
    from hut_ci.forges.gitlab.trigger import GitLabTrigger
    from hut_ci.stages.gitlab_event import Look, check_variables, read
    from hut_ci.stages.trigger import Event

    trigger = opened(open_trigger, address)
    assert isinstance(trigger, GitLabTrigger)
    pipeline = trigger.pipeline(_own_pipeline())
    request = trigger.pull_request(pipeline.merge_request) if pipeline.merge_request is not None else None
    parents = trigger.parents(pipeline.sha) if pipeline.merged else ()
    apart = request is None or not pipeline.merged or trigger.first_build(request.head_sha) is not None
    payload = os.environ.get("TRIGGER_PAYLOAD")
    event = read(pipeline, payload_of(payload) if payload else None, request, parents, built_apart=apart)
    check_variables(pipeline, event, os.environ)
    if isinstance(event, Look):
        if pipeline.source == "trigger":
            _check_settings(trigger)
        return _first(trigger, event, word, label)
    if isinstance(event, Event) and event.kind == "manual" and not trigger.may_write(pipeline.user):
        raise Refused(
            "only who may write to this project may start a test on real boards",
            why="the role of whoever started this pipeline is less, or could not be found out",
            todo="somebody who is a Developer or more can start it",
        )
    return event


def _own_pipeline() -> str:
    number = os.environ.get("CI_PIPELINE_ID", "")
    if not number.isascii() or not number.isdecimal():
        raise UsageError(
            "$CI_PIPELINE_ID is no number",
            why="what started the gate is read from its own pipeline",
            todo="run this in a job of GitLab",
        )
    return number


def _check_settings(trigger: GitLabTrigger) -> None:
    """Whoever knows a trigger's token could give any variable to the job that holds the token that writes."""
    if trigger.anybody_sets_variables():
        raise ConfigError(
            "anybody with the trigger's token may give this job variables",
            why="they win over the job's own: what it installs, and where it sends its token",
            todo="Settings, CI/CD, Variables, minimum role to use pipeline variables: no one",
        )


def _first(trigger: GitLabTrigger, look: Look, word: str, label: str) -> Event | Ignored:
    """The one who has been waiting longest, of those whom no other pipeline has taken."""
    from hut_ci.stages.trigger import Ignored

    for asking in sorted(
        _asking(trigger, look, word, label), key=lambda one: datetime.fromisoformat(str(one.event.at))
    ):
        if trigger.take(asking):
            return asking.event
    return Ignored("nobody asks for anything new")


def _asking(trigger: GitLabTrigger, look: Look, word: str, label: str) -> Iterator[Asking]:
    from hut_ci.stages.gitlab_event import FRESH, asked_by_labels, asked_in
    from hut_ci.stages.spoken import in_label

    now = datetime.now(UTC)
    since = (now - FRESH).strftime("%Y-%m-%dT%H:%M:%SZ")
    one = look.merge_request
    for place in trigger.places(since) if one is None else [trigger.place(one)]:
        number = place.number
        notes = trigger.notes(number, since) if place.notes else ()
        found = (asked_in(note, number, word, now) for note in notes)
        yield from (asking for asking in found if asking is not None)
        if labels := [name for name in place.labels if in_label(name, label)]:
            yield from asked_by_labels(labels, trigger.label_events(number), number, label, now)
