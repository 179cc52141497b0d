"""What a run tells the forges: pending while it goes on, one final state, and where it was asked for, a comment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hut_ci.deadline import Deadline
from hut_ci.errors import ConfigError, ForgeUnavailable, HutCiError, PublishError, UsageError
from hut_ci.model import Pair, Report, Request, VerdictName
from hut_ci.stages.publish import CONTEXT, announce, publish
from hut_ci.units import utc_now

if TYPE_CHECKING:
    from hut_ci.cli.forges import Forges
    from hut_ci.forges.address import Address
    from hut_ci.run import Order
    from hut_ci.stages.comment import When

DELIVERY_SECONDS = 90.0
"""For the final answer to one forge, its repeats included."""
HURRIED_SECONDS = 3.0
"""The same for a cancelled run: GitHub's runner kills it 10 s after the first signal."""
MARGIN = timedelta(minutes=5)
"""From a run's time limit to the moment from which its pending status counts as lost."""
SUMMARY_LIMIT = 1 << 20
"""Bytes of a job's summary (GitHub docs: "Adding a job summary")."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the answer is to be given: `context` is the template of a status' name."""

    context: str = CONTEXT
    comment: When = "auto"
    check_run: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wishes:
        """Raises UsageError for a template that would give all slots one status."""
        context = options.get("context") or CONTEXT
        if "{slot}" not in context or len(context) > 200:
            raise UsageError(
                f"--context {context[:80]!r} is no template",
                why="two slots would share one status, and the last one would hide the other",
                todo="put {slot} into it, like `hardware / {slot}`",
            )
        return cls(context, options.get("comment") or "auto", bool(options.get("check_run")))


@dataclass(slots=True)
class Delivery:
    """The statuses of one run; `troubles` keeps what a forge did not take at the end: the report stands anyway."""

    order: Order
    forges: Forges
    wishes: Wishes
    out: Path
    say: Callable[[str], None]
    troubles: list[PublishError] = field(default_factory=list)

    def announce(self, report: Report, text: str) -> None:
        """Post `pending` everywhere. A forge that is down for now does not keep a board from being tested;

        one that refuses (PublishError) does: nobody would ever see the result.
        """
        if report.commit_sha is None or report.slot is None:
            return
        for address in self._statuses():
            try:
                self._announce(address, report.commit_sha, report.slot, text)
            except ForgeUnavailable as error:
                self.say(f"{error.what}; going on")

    def _announce(self, address: Address, sha: str, slot: str, text: str) -> None:
        from hut_ci.cli.forges import open_sink
        from hut_ci.forges.local import LocalForge

        sink = open_sink(address, os.environ, Deadline(DELIVERY_SECONDS), self.say)
        if isinstance(sink, LocalForge):
            sink.repair()
        not_after = None if address.kind == "local" else self._due()
        announce(
            sink,
            sha,
            slot,
            text,
            context=self.wishes.context,
            target_url=self.order.run_url,
            not_after=not_after,
        )

    def _due(self) -> str:
        until = datetime.now(UTC) + timedelta(seconds=self.order.limit) + MARGIN
        return self.order.not_after or until.strftime("%Y-%m-%dT%H:%MZ")

    def deliver(self, report: Report) -> None:
        """Post the final state from the written document, everywhere; then the comment and the job's summary."""
        from hut_ci.reports.json_document import read

        try:
            document = read(self.out / "report.json")
        except ConfigError:
            document = None
        _summarise(self.out)
        if report.commit_sha is None:
            return
        hurried = report.verdict.name is VerdictName.CANCELLED
        seconds = HURRIED_SECONDS if hurried else DELIVERY_SECONDS
        for address in self._statuses():
            self._try(lambda to=address: self._publish(to, document, report, seconds))  # type: ignore[misc]
        if self.order.pull_request is not None and not hurried:
            for address in self.forges.publish:
                self._try(lambda to=address: self._comment(to, document, report))  # type: ignore[misc]

    def _publish(self, address: Address, document: object, report: Report, seconds: float) -> None:
        from hut_ci.cli.forges import open_sink

        sink = open_sink(address, os.environ, Deadline(seconds), self.say)
        page = str(self.out / "summary.md") if address.kind == "local" else self.order.run_url
        publish(
            document,
            sink,
            sha=report.commit_sha,
            slot=report.slot,
            context=self.wishes.context,
            target_url=page,
        )
        if self.wishes.check_run and address.kind == "github" and isinstance(document, Mapping):
            self._check_run(address, document, report, seconds)

    def _check_run(self, address: Address, document: Mapping[str, Any], report: Report, seconds: float) -> None:
        from hut_ci.cli.forges import open_sink
        from hut_ci.forges.github.statuses import GitHubStatuses
        from hut_ci.stages.check_run import check_run

        sink = open_sink(address, os.environ, Deadline(seconds), self.say)
        assert isinstance(sink, GitHubStatuses)
        assert report.commit_sha is not None
        name = self.wishes.context.replace("{slot}", report.slot or "no slot")
        check_run(sink, document, report.commit_sha, name, self.order.run_url)

    def _comment(self, address: Address, document: object, report: Report) -> None:
        from hut_ci.cli.forges import open_conversation
        from hut_ci.stages.deliver import discuss, results_of

        conversation = open_conversation(address, os.environ, Deadline(DELIVERY_SECONDS), self.say)
        if conversation is not None:
            request = self._request(report)
            discuss(request, results_of(request, [document]), conversation, self.wishes.comment)

    def _request(self, report: Report) -> Request:
        """What this one run was asked, as the document that a run elsewhere would have had."""
        assert report.commit_sha is not None
        slot = report.slot or "no slot"
        return Request(
            commit_sha=report.commit_sha,
            pairs=(Pair(slot, self.wishes.context.replace("{slot}", slot)),),
            not_after=utc_now(),
            pull_request=self.order.pull_request,
            run_url=self.order.run_url,
            skip_tested=True,
        )

    def _statuses(self) -> list[Address]:
        """Where statuses go: not to the GitLab project whose job this is."""
        from hut_ci.cli.forges import is_own_job

        return [address for address in self.forges.publish if not is_own_job(address, os.environ)]

    def _try(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except PublishError as error:
            self.troubles.append(error)
        except HutCiError as error:  # a token file that vanished, say
            self.troubles.append(PublishError(error.what, why=error.why, todo=error.todo))

    def refuse_silence(self) -> None:
        """Raise PublishError where an answer did not get through, with the command that repeats it."""
        if not self.troubles:
            return
        first = self.troubles[0]
        words = [f"--publish {address}" for address in self.forges.publish]
        if self.order.pull_request is not None:
            words.append(f"--pull-request {self.order.pull_request}")
        if self.wishes.context != CONTEXT:
            words.append(f"--context '{self.wishes.context}'")
        again = " ".join(["hut-ci report publish", str(self.out), *words])
        raise PublishError(
            "; ".join(dict.fromkeys(error.what for error in self.troubles)),
            why=first.why,
            todo=f"{first.todo}; the report is kept, this sends it again: `{again}`",
        )


def _summarise(out: Path) -> None:
    """Add the report to the job's summary page on GitHub; a summary that cannot be written is no reason to fail."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    with suppress(OSError), Path(target).open("ab") as page:
        text = (out / "summary.md").read_bytes()
        if page.tell() + len(text) < SUMMARY_LIMIT:
            page.write(text + b"\n")
