"""From a run that may be to the request that the lab gets, and the pending statuses that stand until it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from hut_ci.errors import PublishError
from hut_ci.model import Pair, Project, Request
from hut_ci.reports import states
from hut_ci.stages import publish
from hut_ci.stages.publish import StatusSink
from hut_ci.stages.request import SCHEMA
from hut_ci.stages.selection import Choice
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
) -> dict[str, Any]:
    """A hut.request.v1; `answer_within` is in seconds from now, `context` a template with {slot}."""
    named = project.variants != Project().variants
    pairs = [_pair(choice, choices, context, named=named) for choice in choices]
    until = datetime.now(UTC) + timedelta(seconds=answer_within)
    return _known(
        schema_version=SCHEMA,
        repository=builds.partition(":")[2],
        builds=builds,
        publish=list(publish_to),
        commit_sha=ask.commit_sha,
        pull_request=ask.pull_request,
        run_id=ask.run_id,
        run_url=run_url,
        pairs=pairs,
        aggregate=aggregate,
        forks_allowed=ask.forks_allowed,
        not_after=until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def matrix(request: Request) -> dict[str, Any]:
    """What a workflow makes one job of each from; empty words stand for what is not named."""
    return {"include": [_leg(pair) for pair in request.pairs]}


@contextmanager
def announced(request: Request, forges: Sequence[Callable[[], StatusSink]]) -> Iterator[None]:
    """Post `pending` for every pair, and for all together, before the block, which hands the request on.

    Whatever ends the posting or the block before its end, none is left pending. `forges` open one each, with time of
    its own: what the posting has used up must not be missing when it is taken back. Raises PublishError.
    """
    contexts = [*(pair.context for pair in request.pairs), *([request.aggregate] if request.aggregate else [])]
    posted: dict[Callable[[], StatusSink], list[str]] = {}
    try:
        for open_forge in forges:
            sink = open_forge()
            for context in contexts:
                posted.setdefault(open_forge, []).append(context)
                _announce(request, sink, context)
        yield
    except BaseException:
        for open_forge, named in posted.items():
            _withdraw(request, open_forge(), named)
        raise


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


def _leg(pair: Pair) -> Mapping[str, str]:
    return {"slot": pair.slot, "label": pair.label or "", "variant": pair.variant or "", "context": pair.context}


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
