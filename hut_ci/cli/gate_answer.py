"""What becomes of an event at the gate: asked for, ignored, explained or refused; and what is said of it there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hut_ci.errors import ArtifactError, Cancelled, ConfigError, HutCiError, Refused, SlotError, UsageError

if TYPE_CHECKING:
    from hut_ci.cli.forges import Forges
    from hut_ci.deadline import Deadline
    from hut_ci.forges.address import Address
    from hut_ci.forges.github.trigger import GitHubTrigger
    from hut_ci.forges.gitlab.trigger import GitLabTrigger
    from hut_ci.model import Request, Slot
    from hut_ci.stages.publish import StatusSink
    from hut_ci.stages.trigger import Event, Ignored

SECONDS = 120.0
"""For all that is asked of a forge."""
PAYLOAD_LIMIT = 32 << 20
"""Bytes; GitHub's payloads end at 25 MB (docs: "Webhook events and payloads")."""
DISCUSSED = (Refused, UsageError, ConfigError, SlotError, ArtifactError)
"""What whoever asked can do something about, and is told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`decision` is `run`, `ignored` or `help`; only a run has a request."""

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

        Where `give` raises, what was asked for is taken back. Raises what `allow` and `select` raise.
        """
        from hut_ci.stages.spoken import help_text
        from hut_ci.stages.trigger import Ignored

        if isinstance(event, Ignored):
            return give(Answer("ignored", event.why))
        if event.command.help:
            self._reply(event, help_text(self.options["word"]), "help")
            return give(Answer("help"))
        try:
            self._ask(event, give)
        except Refused as error:
            if event.kind == "build":  # the head moved while it was built: its own build asks again
                return give(Answer("ignored", error.what))
            self._refuse(event, error)
            raise
        except DISCUSSED as error:
            self._refuse(event, error)
            raise
        finally:
            self._drop_label(event)

    def heard(self) -> Event | Ignored:
        """What started a pipeline on GitLab: a note is read again where a trigger's payload says that there is one."""
        from hut_ci.forges.gitlab.trigger import GitLabTrigger
        from hut_ci.stages.gitlab_event import Hint, asked_in, read

        hint_file = os.environ.get("TRIGGER_PAYLOAD")
        event = read(os.environ, payload_of(hint_file) if hint_file else None)
        if not isinstance(event, Hint):
            return event
        trigger = self._trigger()
        assert isinstance(trigger, GitLabTrigger)
        return asked_in(trigger.note(event), event, self.options["word"])

    def _ask(self, event: Event, give: Give) -> None:
        from hut_ci.cli.forges import is_own_job, open_builds
        from hut_ci.stages.gate import announced, request_document
        from hut_ci.stages.project_source import project_at
        from hut_ci.stages.request import from_document
        from hut_ci.stages.selection import select
        from hut_ci.stages.trigger import allow

        options = self.options
        ask = allow(event, self._trigger(), options["forks"])
        builds, sinks = self.forges.builds or self.address, self.forges.publish
        files = open_builds(builds, os.environ, self._deadline(), _say)
        project = project_at(files, ask.commit_sha, ask.pull_request).project
        choices = select(self._slots(), project, ask.names or (options["only"] or "").split())
        document = request_document(
            ask,
            choices,
            project,
            builds=str(builds),
            publish_to=[str(sink) for sink in sinks],
            run_url=options["run_url"],
            answer_within=options["answer_within"],
            context=options["context"],
            aggregate=options["aggregate"],
        )
        request = from_document(document, "the request")
        answer = Answer("run", request=request, document=document)
        others = [sink for sink in sinks if not is_own_job(sink, request.commit_sha, os.environ)]
        openers = [partial(self._sink, sink) for sink in others]
        with announced(request, openers):
            if event.comment_id is not None:
                _try(lambda: self._trigger().accept(str(event.comment_id)))
            give(answer)

    def _slots(self) -> tuple[Slot, ...]:
        """The lab's list; `repo:` means the repository whose job this is, also where builds are elsewhere."""
        from hut_ci.cli.forges import open_builds
        from hut_ci.stages.public_slots import slots_of

        source = self.options["slots"]
        if source.lstrip().startswith("{"):
            return slots_of(source, "--slots")
        if source.startswith("repo:"):
            files = open_builds(self.address, os.environ, self._deadline(), _say)
            data = files.file(source.removeprefix("repo:"), "HEAD")
            if data is None:
                raise UsageError(
                    f"the default branch has no file {source.removeprefix('repo:')}",
                    todo="put there what `hut-ci slots list --public --json` prints on the lab host",
                )
            return slots_of(data, source)
        try:
            return slots_of(Path(source).read_bytes(), source)
        except OSError as error:
            raise UsageError(f"{source} cannot be read", why=str(error), todo="give the lab's list of slots") from error

    def _refuse(self, event: Event, error: HutCiError) -> None:
        """Say the reason, once, where it was asked; what names people or commands in it is broken up."""
        from hut_ci.reports.escaping import cut, markdown_text

        parts = [f"Not tested: {error.what}"]
        parts += [f"Why: {error.why}"] if error.why else []
        parts += [f"What to do: {error.todo}"] if error.todo else []
        self._reply(event, "\n\n".join(markdown_text(cut(part, 600)) for part in parts), "refused")

    def _reply(self, event: Event, text: str, about: str) -> None:
        """One comment for each kind of reply on a pull request, however often it is asked for."""
        from hut_ci.cli.forges import open_conversation
        from hut_ci.stages.comment import upsert

        if event.sender is None or event.pull_request is None:
            return
        number = event.pull_request
        conversation = open_conversation(self.address, os.environ, self._deadline(), _say)
        if conversation is not None:
            talk = conversation
            _try(lambda: upsert(talk, number, text, failed=True, when="always", about=about))

    def _drop_label(self, event: Event) -> None:
        if event.label is not None and event.pull_request is not None:
            number, label = event.pull_request, event.label
            _try(lambda: self._trigger().drop_label(number, label))

    def _trigger(self) -> GitHubTrigger | GitLabTrigger:
        from hut_ci.cli.forges import open_trigger

        return open_trigger(self.address, os.environ, self._deadline(), _say)

    def _sink(self, address: Address) -> StatusSink:
        from hut_ci.cli.forges import open_sink

        return open_sink(address, os.environ, self._deadline(), _say)

    def _deadline(self) -> Deadline:
        from hut_ci.deadline import Deadline

        return Deadline(SECONDS)


def payload_of(path: str | Path) -> object:
    """What a webhook said. Raises UsageError for a file that is no JSON."""
    try:
        with Path(path).open("rb") as file:
            return json.loads(file.read(PAYLOAD_LIMIT))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is no payload of an event", why=str(error)[:200], todo="give the JSON that the forge sent"
        ) from error


def _try(what: Callable[[], object]) -> None:
    """A reaction, a label or a reply that fails does not change what was decided."""
    try:
        what()
    except Cancelled:
        raise
    except HutCiError as error:
        _say(f"note: {error.what}")


def _say(text: str) -> None:
    from hut_ci.reports.escaping import ci_log

    click.echo(ci_log(text), err=True)
