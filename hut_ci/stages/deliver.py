"""The answer to a request: a status per slot, one for all, one comment; from reports that may come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hut_ci.model import Evidence, Pair, Request
from hut_ci.reports import states
from hut_ci.reports.comment import comment
from hut_ci.reports.escaping import cut
from hut_ci.stages import publish
from hut_ci.stages.aggregate import ORDER, Result, result, whole
from hut_ci.stages.comment import Conversation, When, upsert
from hut_ci.stages.publish import Status, StatusSink
from hut_ci.stages.serving import evidence
from hut_ci.stages.verdict import judge, sentence

NO_REPORT = Evidence("no_report", {"what": "there is no report"})


def results_of(request: Request, documents: Sequence[object], missing: Evidence = NO_REPORT) -> list[Result]:
    """One result for each pair of the request: of the report about its slot, if that is to be believed."""
    return [_result(request, pair, _about(request, pair, documents, missing)) for pair in request.pairs]


def deliver(
    request: Request, documents: Sequence[object], forge: StatusSink, missing: Evidence = NO_REPORT
) -> list[Status]:
    """Post the final status of every slot, and of all together. A missing or mismatching report is `error`.

    A slot that was blocked from the start needs none. `missing` stands in the place of each report that is not among
    the documents. Commit, slots and contexts are the request's. Raises PublishError where the forge does not take it.
    """
    posted = [answer(request, pair, _about(request, pair, documents, missing), forge) for pair in request.pairs]
    if request.aggregate:
        posted.append(aggregate(request, results_of(request, documents, missing), forge, request.aggregate))
    return posted


def answer(request: Request, pair: Pair, document: object, forge: StatusSink) -> Status:
    """Post the final status of one pair from the report about it."""
    if isinstance(document, Evidence):
        return publish.settle(forge, request.commit_sha, pair.context, document, request.run_url)
    return publish.publish(
        document,
        forge,
        sha=request.commit_sha,
        slot=pair.slot,
        context=pair.context,
        target_url=request.run_url,
        request=request,
    )


def aggregate(request: Request, results: Sequence[Result], forge: StatusSink, context: str) -> Status:
    told = whole(results)
    state = states.table()[told.key].of(forge.vocabulary)
    text = cut(told.sentence, forge.description_limit)
    forge.set_status(request.commit_sha, context, state, text, request.run_url)
    return Status(request.commit_sha, context, state, text)


def discuss(
    request: Request, results: Sequence[Result], conversation: Conversation, when: When, about: str = ""
) -> bool:
    """Write or renew the one comment on the request's pull request; whether something was written.

    `about` tells the comments of jobs apart that know of one slot each.
    """
    if request.pull_request is None:
        return False
    rows = [(entry.slot, entry.sentence, entry.document) for entry in results]
    text = comment(request.commit_sha, rows, conversation.limit, request.run_url)
    failed = any(states.table()[entry.key].ws2 != "success" for entry in results)
    return upsert(conversation, request.pull_request, text, failed=failed, when=when, about=about)


def _about(request: Request, pair: Pair, documents: Sequence[object], missing: Evidence) -> object:
    """The report about the pair; of several the worst one, and what cannot be read as a report is the worst.

    Without any, the evidence that stands in its place: what blocked the slot from the start, or `missing`.
    One that names no variant is about a slot's only pair, never about one of several.
    """
    variants = (pair.variant,) if request.shares_slot(pair) else (pair.variant, None)
    found = [document for document in documents if _slot(document) == pair.slot and _fits(document, pair, variants)]
    return min(found, key=_badness, default=missing if pair.blocked is None else evidence(pair))


def _badness(document: object) -> int:
    if publish.refusal(document, None, None) is not None:
        return -1
    return ORDER.index(states.key(_hardware(document)["verdict"]))


def _fits(document: object, pair: Pair, variants: Sequence[str | None]) -> bool:
    return pair.variant is None or _hardware(document).get("variant") in variants


def _slot(document: object) -> object:
    return _hardware(document).get("slot")


def _hardware(document: object) -> Mapping[str, Any]:
    block = document.get("hardware") if isinstance(document, Mapping) else None
    return block if isinstance(block, Mapping) else {}


def _result(request: Request, pair: Pair, document: object) -> Result:
    if isinstance(document, Evidence):
        return Result(request.name_of(pair), judge(document).name.value, sentence(document), pair.informational)
    refused = publish.refusal(document, request.commit_sha, pair.slot, request)
    known = document if isinstance(document, Mapping) else None
    return result(request.name_of(pair), known, refused, informational=pair.informational)
