"""One status and one comment for several slots that ran in one command."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hut_ci.cli.answers import Answer
from hut_ci.deadline import Deadline
from hut_ci.errors import PublishError
from hut_ci.model import Pair, Request
from hut_ci.units import utc_now


def tell_all(answers: Sequence[Answer], options: Mapping[str, Any]) -> None:
    """Post the aggregate status and the comment of these answers, where a commit and a forge are known.

    Raises PublishError where a forge does not take them.
    """
    from hut_ci.cli.composition import run_page
    from hut_ci.cli.delivery import DELIVERY_SECONDS, Wishes
    from hut_ci.cli.forges import forges_of, is_own_job, open_conversation, open_sink
    from hut_ci.stages.deliver import aggregate, discuss, results_of

    documents = [answer.document for answer in answers if answer.document is not None]
    wishes = Wishes.of(options)
    forges = forges_of(options["forge"], options["publish"], os.environ)
    if options["commit"] is None or not forges.publish:
        return
    slots = dict.fromkeys(_slot(answer) for answer in answers)
    request = Request(
        commit_sha=options["commit"],
        pairs=tuple(Pair(slot, wishes.context.replace("{slot}", slot)) for slot in slots),
        not_after=utc_now(),
        pull_request=options["pull_request"],
        run_url=options["run_url"] or run_page(os.environ),
        skip_tested=True,
    )
    results, troubles = results_of(request, documents), []
    for address in forges.publish:
        until = Deadline(DELIVERY_SECONDS)
        try:
            if request.aggregate and not is_own_job(address, os.environ):
                aggregate(request, results, open_sink(address, os.environ, until, _quiet), request.aggregate)
            conversation = open_conversation(address, os.environ, until, _quiet)
            if conversation is not None:
                discuss(request, results, conversation, wishes.comment)
        except PublishError as error:
            troubles.append(error)
    if troubles:
        raise troubles[0]


def _slot(answer: Answer) -> str:
    """The slot that ran; what was asked for where none did."""
    known = answer.document["hardware"]["slot"] if answer.document else None
    return str(known or answer.name)


def _quiet(_text: str) -> None:
    """The progress of the runs is over; repeats of a request show in their time alone."""
