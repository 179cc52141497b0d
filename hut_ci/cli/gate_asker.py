"""Whoever asked the gate for a run, and what the gate shows them where they asked: a reaction, one reply, no label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hut_ci.cli.gate_sources import opened, say
from hut_ci.errors import Cancelled, HutCiError

if TYPE_CHECKING:
    from hut_ci.forges.address import Address
    from hut_ci.forges.github.trigger import GitHubTrigger
    from hut_ci.stages.trigger import Event


@dataclass(frozen=True, slots=True)
class Asker:
    """Who caused `event` at the forge of `address`. No method raises where that forge does not answer: what was
    decided stands, and the log says what could not be shown."""

    address: Address
    event: Event

    def accept(self) -> None:
        """Show under the comment that it was understood."""
        comment = self.event.comment_id
        if comment is not None:
            self._mark(lambda trigger: trigger.accept(comment))

    def explain(self, word: str) -> None:
        """Tell what a comment may ask for; `word` begins each command."""
        from hut_ci.stages.spoken import help_text

        self._reply(help_text(word), "help")

    def refuse(self, error: HutCiError) -> None:
        """Say the reason, once; what names people or commands in it is broken up."""
        from hut_ci.stages.reply import refusal

        self._reply(refusal(error), "refused")

    def take_label(self) -> None:
        """Take off the label that asked: it means "test what is there now"."""
        number, label = self.event.pull_request, self.event.label
        if label is not None and number is not None:
            self._mark(lambda trigger: trigger.drop_label(number, label))

    def _mark(self, mark: Callable[[GitHubTrigger], None]) -> None:
        """On GitLab notes and labels are marked before they are believed, so there is nothing left to do."""
        from hut_ci.cli.forges import open_trigger
        from hut_ci.forges.github.trigger import GitHubTrigger

        def do() -> None:
            trigger = opened(open_trigger, self.address)
            if isinstance(trigger, GitHubTrigger):
                mark(trigger)

        _try(do)

    def _reply(self, text: str, about: str) -> None:
        """One comment for each kind of reply on a pull request, however often it is asked for."""
        from hut_ci.cli.forges import open_conversation
        from hut_ci.stages.comment import upsert

        number = self.event.pull_request
        if self.event.sender is None or number is None:
            return

        def speak(to: int = number) -> None:
            conversation = opened(open_conversation, self.address)
            if conversation is not None:
                upsert(conversation, to, text, failed=True, when="always", about=about)

        _try(speak)


def _try(what: Callable[[], object]) -> None:
    try:
        what()
    except Cancelled:
        raise
    except HutCiError as error:
        say(f"note: {error.what}")
