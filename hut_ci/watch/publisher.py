"""The process that holds the token: it asks the forges, decides, hands over, and answers. It touches no board.

A round may be cut off anywhere and is begun again: what was done is in the store, what was half done is done once more
and comes out the same (a status that stands there is not posted again, a comment is found by its marker).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hut_ci.artifact_cache import ArtifactCache
from hut_ci.deadline import Deadline
from hut_ci.errors import BuildRunning, Cancelled, ForgeUnavailable, HutCiError
from hut_ci.model import Watched
from hut_ci.record import evidence_of
from hut_ci.stages.build_choice import NoRun
from hut_ci.watch import asking, plan, spool, telling
from hut_ci.watch.away import START_SECONDS, absent, away_until
from hut_ci.watch.desk import Desk, each, request_of
from hut_ci.watch.forge import Forge
from hut_ci.watch.handing import hand_over
from hut_ci.watch.job import HANDED, OPEN
from hut_ci.watch.own_report import report_of
from hut_ci.watch.plan import Turn

LOOK_SECONDS = 30.0
LONGEST_ASKED = 7200.0
"""Of a pause that a forge asks for: GitHub's limits are renewed every hour, and time limits have to be kept."""
ROUND_SECONDS = 600.0
"""For everything that one round asks of one repository's forge, a download aside."""
DOWNLOAD_SECONDS = 600.0
BEAT_SECONDS = 10.0
PASSING = frozenset({"forge_error", "download_failed"})
BUILDS = "etag-runs"
"""The mark that changes whenever a build of the repository does."""

OpenForge = Callable[[Watched, Deadline], Forge]


@dataclass(slots=True)
class Pause:
    """When a repository is looked at, served and given turns next, and how often in a row that failed; Unix time.

    A forge that is down gives no turns; one that refuses one status does.
    """

    look: float = 0.0
    serve: float = 0.0
    turn: float = 0.0
    failures: int = 0
    trouble: str = ""
    todo: str = ""


@dataclass(slots=True)
class Publisher:
    """`alive` is called between the steps of a round, which may take long: none of them takes ROUND_SECONDS.

    `since` is when it began, where it goes on for ever (Unix time).
    """

    desk: Desk
    cache: ArtifactCache
    open_forge: OpenForge
    look_seconds: float = LOOK_SECONDS
    pauses: dict[str, Pause] = field(default_factory=dict)
    last: float = 0.0
    since: float = 0.0
    alive: Callable[[], None] = lambda: None
    beaten: float = 0.0

    def round(self) -> None:
        """Everything that there is to do now; a clock that was set back has no pause last longer."""
        desk = self.desk
        if desk.clock() < self.last:
            self.pauses.clear()
            desk.refusals.known.clear()
            self.beaten = 0.0
        self.last = desk.clock()
        telling.collect(desk)
        away = absent(desk.spool, desk.clock())
        telling.take_back(desk, away)
        telling.end_overdue(desk)
        for address in sorted(telling.end_former(desk)):
            former = Watched(address)
            self._guarded(former, partial(self._part_with, former))
        told = away_until(desk.spool, desk.clock()) if self._begins() else away
        for watched in desk.lab.projects:
            self._guarded(watched, partial(self._serve, watched, told))
        if away is None:
            self._hand_over()
        self._tidy()

    def _begins(self) -> bool:
        """Whether the bench may be about to begin, as we are: that it is away is not told yet."""
        return 0 <= self.desk.clock() - self.since <= START_SECONDS

    def pause(self, watched: Watched) -> Pause:
        return self.pauses.setdefault(watched.address, Pause())

    def _guarded(self, watched: Watched, what: Callable[[], None], *, is_turn: bool = False) -> None:
        """Do `what` unless the forge asked for a pause; a failure makes one, twice as long each time."""
        pause, clock = self.pause(watched), self.desk.clock
        if clock() < (pause.turn if is_turn else pause.serve):
            return
        try:
            what()
        except Cancelled:
            raise
        except HutCiError as error:
            pause.failures += 1
            asked = error.pause if isinstance(error, ForgeUnavailable) else None
            seconds = max(min(asked or 0.0, LONGEST_ASKED), plan.pause_seconds(pause.failures, self.look_seconds))
            pause.serve, pause.trouble, pause.todo = clock() + seconds, error.what, error.todo
            if is_turn or isinstance(error, ForgeUnavailable):
                pause.turn = pause.serve
            again = f"; again in {seconds:.0f} s" if self.since else ""
            self.desk.say(f"{watched.address}: {error.what}{again}")
        else:
            pause.failures, pause.trouble, pause.todo = 0, "", ""
        self._beat()

    def _beat(self) -> None:
        """Tell that we live, not more often than anybody wants to hear it; a step that hangs does not get here.

        Nor does a download of which nothing comes.
        """
        if self.desk.clock() >= self.beaten + BEAT_SECONDS:
            self.beaten = self.desk.clock()
            self.alive()

    def _serve(self, watched: Watched, away: str | None) -> None:
        """Step by step; one commit whose status the forge refuses keeps none of the others from being looked for."""
        desk, forge = self.desk, self.open_forge(watched, Deadline(ROUND_SECONDS))
        steps: tuple[Callable[[], None], ...] = (
            lambda: telling.answer(desk, watched, forge),
            lambda: self._look(watched, forge),
            lambda: asking.decide_all(desk, watched, forge),
            lambda: asking.leave_traces(desk, watched, forge),
            lambda: asking.drop_superseded(desk, watched),
            lambda: telling.announce(desk, watched, forge, away),
            lambda: telling.answer(desk, watched, forge),
        )
        each(steps, self._step)

    def _step(self, step: Callable[[], None]) -> None:
        step()
        self._beat()

    def _part_with(self, former: Watched) -> None:
        """Tell a repository that is watched no longer what became of its runs."""
        telling.answer(self.desk, former, self.open_forge(former, Deadline(ROUND_SECONDS)))

    def _look(self, watched: Watched, forge: Forge) -> None:
        desk, pause = self.desk, self.pause(watched)
        if desk.clock() >= pause.look:
            asking.look(desk, watched, forge)
            pause.look = desk.clock() + self.look_seconds

    # --- to the bench

    def _hand_over(self) -> None:
        """One pair for each free slot, fairly; a pair whose build is not there yet leaves its turn to another."""
        while chosen := self._next_turns():
            before = self.desk.store.jobs()
            for turn in chosen:
                watched = self.desk.lab.watched(turn.job.repository)
                assert watched is not None
                self._guarded(watched, partial(self._take_turn, watched, turn), is_turn=True)
            if self.desk.store.jobs() == before:
                return

    def _next_turns(self) -> list[Turn]:
        """Of the repositories that may begin a run now, and of their jobs those about which something has changed."""
        store, local = self.desk.store, self.desk.now.astimezone()
        ready, served, limits = [], {}, {}
        for watched in self.desk.lab.projects:
            address = watched.address
            if self.desk.clock() < self.pause(watched).turn or plan.open_at(watched.hours, local) != local:
                continue
            builds = store.marks(address).get(BUILDS, "")
            ready += [
                job for job in store.jobs(address) if job.state == OPEN and (not job.looked or job.looked != builds)
            ]
            served[address] = max((moment for moment in store.begun(address) if moment <= self.last), default=0.0)
            limits[address] = self.desk.runs_left(watched)
        busy = [job for job in store.jobs() if job not in ready]
        return plan.turns(ready, served, limits, busy)

    def _take_turn(self, watched: Watched, turn: Turn) -> None:
        desk, deadline = self.desk, Deadline(DOWNLOAD_SECONDS)
        forge, request = self.open_forge(watched, deadline), request_of(turn.job)
        try:
            hand_over(turn, request, forge.builds, self.cache, desk.spool, deadline, lambda *_: self._beat())
        except (BuildRunning, NoRun):
            desk.store.looked(turn.job, desk.store.marks(watched.address).get(BUILDS, "") or "none")
        except HutCiError as error:
            if isinstance(error, Cancelled | ForgeUnavailable) or error.evidence in PASSING:
                raise
            report = report_of(request, request.pairs[turn.pair.number], evidence_of(error), desk.lab.name)
            desk.store.answer(turn.job, {turn.pair.number: report})
        else:
            desk.store.hand_over(turn.job, turn.pair, desk.clock())

    def _tidy(self) -> None:
        """Take from the spool whatever no open job waits for, and forget the repositories that nothing is due to."""
        desk = self.desk
        jobs = desk.store.jobs()
        desk.refusals.keep([job.id for job in jobs])
        due = {job.repository for job in jobs} | {watched.address for watched in desk.lab.projects}
        desk.store.part_with(due)
        for address in self.pauses.keys() - due:
            del self.pauses[address]
        wanted = {job.place(pair) for job in jobs for pair in job.pairs if pair.state == HANDED}
        for name in spool.ready(desk.spool, spool.JOBS):
            if name not in wanted:
                spool.withdraw(desk.spool, name)
        desk.store.forget(desk.clock())
