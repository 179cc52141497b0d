"""What becomes of an event at the gate: asked for, ignored, explained or refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hut_ci.cli.gate_sources import known_runners, lab_slots, opened
from hut_ci.errors import ArtifactError, ConfigError, Refused, SlotError, UsageError

if TYPE_CHECKING:
    from hut_ci.cli.forges import Forges
    from hut_ci.cli.gate_asker import Asker
    from hut_ci.forges.address import Address
    from hut_ci.model import Request
    from hut_ci.stages.publish import StatusSink
    from hut_ci.stages.trigger import Event, Ignored

DISCUSSED = (Refused, UsageError, ConfigError, SlotError, ArtifactError)
"""What whoever asked can do something about, and is told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`decision` is `run`, `blocked`, `ignored` or `help`; only a run has a request."""

    decision: str
    reason: str = ""
    request: Request | None = None
    document: dict[str, Any] | None = None


Give = Callable[[Answer], None]
"""Hands an answer on to the jobs behind the gate."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One repository, with what the command line chose; builds and answers may be at another forge (`forges`)."""

    address: Address
    forges: Forges
    options: dict[str, Any]

    def answer(self, event: Event | Ignored, give: Give) -> None:
        """What becomes of `event` is given to `give`, and whoever asked is told.

        Where `give` raises, what was asked for is taken back. Raises what `allow` and `select` raise, and SlotError
        where no slot can be served.
        """
        from hut_ci.cli.gate_asker import Asker
        from hut_ci.stages.trigger import Ignored

        if isinstance(event, Ignored):
            return give(Answer("ignored", event.why))
        asker = Asker(self.address, event)
        if event.command.help:
            asker.explain(self.options["word"])
            return give(Answer("help"))
        try:
            self._ask(event, asker, give)
        except Refused as error:
            if event.kind == "build":  # the head moved while it was built: its own build asks again
                return give(Answer("ignored", error.what))
            asker.refuse(error)
            raise
        except DISCUSSED as error:
            asker.refuse(error)
            raise
        finally:
            asker.take_label()

    def _ask(self, event: Event, asker: Asker, give: Give) -> None:
        from hut_ci.cli.forges import is_own_job, open_sink
        from hut_ci.stages.gate import announced
        from hut_ci.stages.request import from_document

        document = self._document(event)
        request = from_document(document, "the request")
        others = [sink for sink in self.forges.publish if not is_own_job(sink, request.commit_sha, os.environ)]
        sinks = [partial(opened, open_sink, sink) for sink in others]
        if all(pair.blocked for pair in request.pairs):
            raise _blocked(request, sinks, give)
        with announced(request, sinks):
            asker.accept()
            give(Answer("run", request=request, document=document))

    def _document(self, event: Event) -> dict[str, Any]:
        """What is asked of the lab. Raises what `allow` and `select` raise."""
        from hut_ci.cli.forges import open_builds, open_trigger
        from hut_ci.stages.gate import request_document
        from hut_ci.stages.project_source import project_at
        from hut_ci.stages.selection import select
        from hut_ci.stages.trigger import allow

        options, builds = self.options, self.forges.builds or self.address
        ask = allow(event, opened(open_trigger, self.address), options["forks"])
        found = project_at(opened(open_builds, builds), ask.commit_sha, ask.pull_request, ask.base_ref)
        project = found.project
        slots = lab_slots(options["slots"], self.address)
        choices = select(slots, project, ask.names or (options["only"] or "").split())
        return request_document(
            ask,
            choices,
            project,
            builds=str(builds),
            publish_to=[str(sink) for sink in self.forges.publish],
            run_url=options["run_url"],
            answer_within=options["answer_within"],
            context=options["context"],
            aggregate=options["aggregate"],
            base_ref=found.base_ref,
            runners=known_runners(self.address, [slot for slot, _ in choices]),
        )


def _blocked(request: Request, sinks: Sequence[Callable[[], StatusSink]], give: Give) -> SlotError:
    """Answer for good what no slot can be served for; the error that says so to whoever asked."""
    from hut_ci.stages.deliver import deliver, results_of
    from hut_ci.stages.gate import unserved

    for sink in sinks:
        deliver(request, (), sink())
    error = unserved(results_of(request, ()))
    give(Answer("blocked", error.what))
    return error
