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
from hut_ci.errors import ConfigError, ForgeUnavailable, PublishError, UsageError
from hut_ci.model import Pair, Report, Request, VerdictName
from hut_ci.stages.publish import CONTEXT, announce, publish
from hut_ci.units import utc_now

if TYPE_CHECKING:
    from hut_ci.cli.forges import Forges
    from hut_ci.forges.address import Address
    from hut_ci.run import Order
    from hut_ci.stages.comment import When
    from hut_ci.stages.publish import Status, StatusSink

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
    """How the answer is to be given: `context` is the template of a status' name, or the name that a request gives."""

    context: str = CONTEXT
    comment: When = "auto"
    check_run: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Wishes:
        """Raises UsageError for a template that would give all slots one status."""
        named = options.get("named_context")
        context = named or options.get("context") or CONTEXT
        if not named and ("{slot}" not in context or len(context) > 200):
            raise UsageError(
                f"--context {context[:80]!r} is no template",
                why="two slots would share one status, and the last one would hide the other",
                todo="put {slot} into it, like `hardware / {slot}`",
            )
        return cls(context, options.get("comment") or "auto", bool(options.get("check_run")))

    def name(self, slot: str) -> str:
        return self.context.replace("{slot}", slot)


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
        """Post `pending` everywhere.

        A forge that is down for now does not keep a board from being tested; one that refuses (PublishError) does:
        nobody would ever see the result.
        """
        if report.commit_sha is None or report.slot is None:
            return
        for address in self.forges.statuses(report.commit_sha):
            try:
                self._announce(address, report.commit_sha, report.slot, text)
            except ForgeUnavailable as error:
                self.say(f"{error.what}; going on")

    def _announce(self, address: Address, sha: str, slot: str, text: str) -> None:
        from hut_ci.forges.local import LocalForge

        sink = self._sink(address, DELIVERY_SECONDS)
        if isinstance(sink, LocalForge):
            sink.repair()
        due, url = None if address.kind == "local" else self._due(), self.order.run_url
        announce(sink, sha, slot, text, context=self.wishes.context, target_url=url, not_after=due)

    def _due(self) -> str:
        until = datetime.now(UTC) + timedelta(seconds=self.order.limit) + MARGIN
        return self.order.not_after or until.strftime("%Y-%m-%dT%H:%MZ")

    def deliver(self, report: Report) -> None:
        """Post the final state from the written document, everywhere; then the comment and the job's summary."""
        from hut_ci.cli.forges import tell
        from hut_ci.reports.json_document import read

        try:
            document = read(self.out / "report.json")
        except ConfigError:
            document = None
        _summarise(self.out)
        if report.commit_sha is None:
            return
        hurried = report.verdict.name is VerdictName.CANCELLED
        where = self.forges.statuses(report.commit_sha)
        self.troubles += tell(where, lambda address: self._publish(address, document, report, hurried=hurried))
        asked = self.forges.pull_requests()
        if self.order.pull_request is not None and asked in self.forges.publish and not hurried:
            self.troubles += tell([asked], lambda address: self._comment(address, document, report))

    def _publish(self, address: Address, document: object, report: Report, *, hurried: bool) -> None:
        sink = self._sink(address, HURRIED_SECONDS if hurried else DELIVERY_SECONDS, hurried=hurried)
        page = str(self.out / "summary.md") if address.kind == "local" else self.order.run_url
        posted = publish(
            document, sink, sha=report.commit_sha, slot=report.slot, context=self.wishes.context, target_url=page
        )
        if not hurried:
            self._replace_unclaimed(sink, posted)
        if self.wishes.check_run and address.kind == "github" and isinstance(document, Mapping):
            self._check_run(sink, document, report)

    def _replace_unclaimed(self, sink: Any, posted: Status) -> None:
        """Renew what an earlier run left that was asked the same, and ended before it knew its slot."""
        unclaimed = self.wishes.name(self.order.slot or "no slot")
        known = [] if unclaimed == posted.context else sink.statuses(posted.sha)
        if any(status.context == unclaimed for status in known):
            sink.set_status(posted.sha, unclaimed, posted.state, posted.description, self.order.run_url)

    def _check_run(self, sink: object, document: Mapping[str, Any], report: Report) -> None:
        from hut_ci.forges.github.statuses import GitHubStatuses
        from hut_ci.stages.check_run import check_run

        assert isinstance(sink, GitHubStatuses)
        assert report.commit_sha is not None
        check_run(sink, document, report.commit_sha, self.wishes.name(report.slot or "no slot"), self.order.run_url)

    def _comment(self, address: Address, document: object, report: Report) -> None:
        from hut_ci.cli.forges import open_conversation
        from hut_ci.stages.deliver import discuss, results_of

        conversation = open_conversation(address, os.environ, Deadline(DELIVERY_SECONDS), self.say)
        if conversation is not None:
            request = self._request(report)
            results = results_of(request, [document])
            discuss(request, results, conversation, self.wishes.comment, about=request.pairs[0].context)

    def _request(self, report: Report) -> Request:
        """What this one run was asked, as the document that a run elsewhere would have had."""
        assert report.commit_sha is not None
        slot = report.slot or "no slot"
        return Request(
            commit_sha=report.commit_sha,
            pairs=(Pair(slot, self.wishes.name(slot)),),
            not_after=utc_now(),
            pull_request=self.order.pull_request,
            run_url=self.order.run_url,
            skip_tested=True,
        )

    def _sink(self, address: Address, seconds: float, *, hurried: bool = False) -> StatusSink:
        from hut_ci.cli.forges import open_sink

        return open_sink(address, os.environ, Deadline(seconds), self.say, hurried=hurried)

    def refuse_silence(self) -> None:
        """Raise PublishError where an answer did not get through, with the command that repeats it."""
        from hut_ci.cli.forges import refuse_silence

        again = ["hut-ci", "report", "publish", str(self.out)]
        for address in self.forges.publish:
            again += ["--publish", str(address)]
        if self.order.pull_request is not None:
            again += ["--pull-request", str(self.order.pull_request)]
        if "{slot}" in self.wishes.context and self.wishes.context != CONTEXT:
            again += ["--context", self.wishes.context]
        refuse_silence(self.troubles, again)


def _summarise(out: Path) -> None:
    """Add the report to the job's summary page on GitHub; a summary that cannot be written is no reason to fail."""
    target = os.environ.get("GITHUB_STEP_SUMMARY")
    if not target:
        return
    with suppress(OSError), Path(target).open("ab") as page:
        text = (out / "summary.md").read_bytes()
        if page.tell() + len(text) < SUMMARY_LIMIT:
            page.write(text + b"\n")
