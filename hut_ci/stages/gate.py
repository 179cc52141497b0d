"""From a run that may be to the request that the lab gets, and the pending statuses that stand until it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from hut_ci.errors import PublishError, SlotError
from hut_ci.model import Pair, Project, Request
from hut_ci.reports import states
from hut_ci.reports.child_pipeline import MARGIN_MINUTES
from hut_ci.stages import publish
from hut_ci.stages.aggregate import Result
from hut_ci.stages.publish import StatusSink
from hut_ci.stages.request import SCHEMA
from hut_ci.stages.selection import Choice
from hut_ci.stages.serving import Runner, blocked_by, evidence
from hut_ci.stages.trigger import Ask

WAITING = "waiting for a board"


def request_document(
    ask: Ask,
    choices: Sequence[Choice],
    project: Project,
    *,
    builds: str,
    publish_to: Sequence[str],
    run_url: str | None,
    answer_within: float,
    context: str | None = None,
    aggregate: str | None = None,
    base_ref: str | None = None,
    runners: Sequence[Runner] | None = None,
) -> dict[str, Any]:
    """A hut.request.v1; `answer_within` is in seconds from now, `context` a template with {slot}.

    Who asked for some slots by name gets their statuses alone: the one for all must not forget the others.
    `base_ref` is the branch whose hut.yml `project` is. `runners` are those that there are, None where that is not
    known.
    """
    named = project.variants != Project().variants
    served = {variant.name for slot, variant in choices if blocked_by(slot, runners) is None}
    pairs = [
        {**_pair(choice, choices, context, named=named), **_hindrance(choice, runners, served)} for choice in choices
    ]
    until = datetime.now(UTC) + timedelta(seconds=answer_within)
    document = _known(
        schema_version=SCHEMA,
        repository=builds.partition(":")[2],
        builds=builds,
        publish=list(publish_to),
        commit_sha=ask.commit_sha,
        pull_request=ask.pull_request,
        base_ref=base_ref,
        run_id=ask.run_id,
        run_url=run_url,
        pairs=pairs,
        aggregate=aggregate,
        forks_allowed=ask.forks_allowed,
        not_after=until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return {**document, "aggregate": None} if ask.names else document


def matrix(request: Request) -> dict[str, Any]:
    """What a workflow makes one job of each from; empty words stand for what is not named."""
    return {"include": [_leg(pair) for pair in request.pairs if pair.blocked is None]}


def job_minutes(limit: float) -> int:
    """The time limit of a job whose run may take `limit` seconds: the run ends first, and always has time to report."""
    return math.ceil(limit / 60) + MARGIN_MINUTES


def unserved(results: Sequence[Result]) -> SlotError:
    """Why blocked pairs, whose `results` these are, were not tested."""
    return SlotError(
        "; ".join(f"{entry.slot}: {entry.sentence.removeprefix('blocked: ')}" for entry in results),
        why="the lab, or a part of it, is away",
        todo="ask again when it is back, or ask for another slot",
    )


@contextmanager
def announced(request: Request, forges: Sequence[Callable[[], StatusSink]]) -> Iterator[None]:
    """Post `pending` for every pair, and for all together, before the block, which hands the request on.

    Blocked ones get their final state. Whatever ends the posting or the block before its end, none is left pending.
    `forges` open one each, with time of its own: what the posting has used up must not be missing when it is taken
    back. Raises PublishError.
    """
    contexts = contexts_of(request)
    posted: dict[Callable[[], StatusSink], list[str]] = {}
    try:
        for open_forge in forges:
            sink = open_forge()
            for context in contexts:
                posted.setdefault(open_forge, []).append(context)
                _announce(request, sink, context)
            for pair in request.pairs:
                if pair.blocked is not None:
                    publish.settle(sink, request.commit_sha, pair.context, evidence(pair), request.run_url)
        yield
    except BaseException:
        for open_forge, named in posted.items():
            _withdraw(request, open_forge(), named)
        raise


def announce_all(request: Request, sink: StatusSink) -> None:
    """Post `pending` for every pair that is not blocked, and for all together. Raises PublishError."""
    for context in contexts_of(request):
        _announce(request, sink, context)


def contexts_of(request: Request) -> list[str]:
    """Where `pending` stands until the lab answers."""
    waiting = [pair.context for pair in request.pairs if pair.blocked is None]
    return [*waiting, *([request.aggregate] if request.aggregate else [])]


def _announce(request: Request, sink: StatusSink, context: str) -> None:
    publish.announce(
        sink,
        request.commit_sha,
        "",
        WAITING,
        context=context,
        target_url=request.run_url,
        not_after=request.not_after,
    )


def _withdraw(request: Request, sink: StatusSink, contexts: Sequence[str]) -> None:
    state = states.of_verdict({"name": "error"}).of(sink.vocabulary)
    for context in contexts:
        with suppress(PublishError):
            sink.set_status(request.commit_sha, context, state, "lab error: the gate failed", request.run_url)


def _pair(choice: Choice, choices: Sequence[Choice], context: str | None, *, named: bool) -> dict[str, Any]:
    slot, variant = choice
    alone = sum(other.id == slot.id for other, _ in choices) == 1
    place = slot.id if alone else f"{slot.id} / {variant.name}"
    return _known(
        slot=slot.id,
        label=slot.label,
        variant=variant.name if named else None,
        context=context.replace("{slot}", place) if context else None,
    )


def _hindrance(choice: Choice, runners: Sequence[Runner] | None, served: Container[str]) -> dict[str, Any]:
    """What keeps a pair from running; `served` are the names of variants that run on some slot.

    A board that was set aside on purpose costs the whole its green only where nothing else runs its variant.
    """
    slot, variant = choice
    blocked = blocked_by(slot, runners)
    aside = blocked == "slot_quarantined" and variant.name in served
    return _known(blocked=blocked, informational=aside or None)


def _leg(pair: Pair) -> Mapping[str, str]:
    return {"slot": pair.slot, "label": pair.label or "", "variant": pair.variant or "", "context": pair.context}


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
