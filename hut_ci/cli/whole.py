"""One status and one comment for several slots that ran in one command."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hut_ci.cli.answers import Answer
from hut_ci.deadline import Deadline
from hut_ci.model import Pair, Request
from hut_ci.units import utc_now

if TYPE_CHECKING:
    from hut_ci.forges.address import Address


def tell_all(answers: Sequence[Answer], options: Mapping[str, Any]) -> None:
    """Post the aggregate status and the comment of these answers, where a commit and a forge are known.

    Raises PublishError where a forge does not take them.
    """
    from hut_ci.cli.delivery import DELIVERY_SECONDS
    from hut_ci.cli.forges import forges_of, open_conversation, open_sink, refuse_silence, tell
    from hut_ci.stages.deliver import aggregate, discuss, results_of

    request = _request(answers, options)
    if request is None:
        return
    where = options["publish"] or (("none",) if options["request"] else ())
    forges = forges_of(request.builds, where, os.environ)
    results = results_of(request, [answer.document for answer in answers if answer.document is not None])

    def post(address: Address) -> None:
        sink = open_sink(address, os.environ, Deadline(DELIVERY_SECONDS), _quiet)
        if request.aggregate:
            aggregate(request, results, sink, request.aggregate)

    def comment(address: Address) -> None:
        conversation = open_conversation(address, os.environ, Deadline(DELIVERY_SECONDS), _quiet)
        if conversation is not None:
            discuss(request, results, conversation, options["comment"])

    asked = forges.pull_requests()
    troubles = tell(forges.statuses(request.commit_sha), post)
    troubles += tell([asked] if asked in forges.publish and asked is not None else [], comment)
    again = ["hut-ci", "report", "publish", *(str(answer.out) for answer in answers)]
    for address in forges.publish:
        again += ["--publish", str(address)]
    refuse_silence(troubles, again)


def _request(answers: Sequence[Answer], options: Mapping[str, Any]) -> Request | None:
    """What was asked: the document, or the options as one; None where no commit is known."""
    from hut_ci.cli.composition import run_page
    from hut_ci.cli.delivery import Wishes
    from hut_ci.stages.request import read_request

    if options["request"] is not None:
        return read_request(options["request"])
    if options["commit"] is None:
        return None
    wishes, slots = Wishes.of(options), dict.fromkeys(_slot(answer) for answer in answers)
    return Request(
        commit_sha=options["commit"],
        pairs=tuple(Pair(slot, wishes.name(slot)) for slot in slots),
        not_after=utc_now(),
        builds=options["forge"],
        pull_request=options["pull_request"],
        run_url=options["run_url"] or run_page(os.environ),
        skip_tested=True,
    )


def _slot(answer: Answer) -> str:
    """The slot that ran; what was asked for where none did."""
    known = answer.document["hardware"]["slot"] if answer.document else None
    return str(known or answer.name)


def _quiet(_text: str) -> None:
    """The progress of the runs is over; repeats of a request show in their time alone."""
