"""What a passing board prints, as a state machine: lines and times in, bytes to send and evidence out.

Nothing here reads a clock or a port. Times are seconds since the board's reset.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from hut_ci.board.boot_log import BootLog, BootStage, Fact, is_banner, is_boot_text
from hut_ci.board.crash import CrashReader
from hut_ci.model import Boot, Evidence, Expect, Partition
from hut_ci.stages.compiled_suite import CompiledSuite, Expectations
from hut_ci.stages.forbidden import Hit, evidence_of, shorten, with_last_words
from hut_ci.stages.required_app import not_written, wrong_app


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: `hang` is the least silence that counts as a hang, `drain` how long a crash may go on printing."""

    hang: float = 2.0
    drain: float = 1.0


class SuiteState:
    """Feed it every line and the time; once `evidence` is set the run is over.

    A line that has no end yet (a prompt) may meet expectations, but is never forbidden. `written` has the offsets
    of the applications that were flashed: one of them has to boot first, unless the suite names the application.
    """

    def __init__(
        self,
        compiled: CompiledSuite,
        partitions: Sequence[Partition] = (),
        timing: Timing | None = None,
        written: Collection[int] = (),
    ) -> None:
        self._compiled = compiled
        self._written = written
        self._suite = compiled.suite
        self._timing = timing or Timing()
        self._steps = Expectations(compiled.expect)
        self._log = BootLog(partitions)
        self._crash = CrashReader()
        self._hit: tuple[Evidence, float] | None = None
        self._earlier = Boot()
        self._last_byte: float | None = None
        self._banner_at = 0.0
        self._app_at: float | None = None
        self._app_spoke = False
        self.evidence: Evidence | None = None

    # --- what the reader of the line tells -----------------------------------------------------------------

    def saw_bytes(self, at: float) -> None:
        """Something came, whether or not it ends a line."""
        self._last_byte = at

    def feed(self, line: str, at: float) -> bytes:
        """One complete line; the bytes to send because of it."""
        if self.evidence is not None:
            return b""
        self._crash.feed(line)
        if self._hit is not None:
            self._finish_crash(line)
            return b""
        self._follow_boot(line, at)
        hit = self._compiled.forbidden.find(line, app_started=self._log.stage is BootStage.APP)
        if self.evidence is None and self._hit is None and hit is not None:
            self._hit = (self._forbidden(hit, line, at), at)
            self._crash_words()
        if self._hit is not None or self.evidence is not None:
            return b""
        answer = self._match(line, at)
        self._steps.end_line()
        return answer

    def feed_partial(self, text: str, at: float) -> bytes:
        """The line that has no end yet, once nothing more came for a moment; the bytes to send because of it."""
        if self.evidence is not None or self._hit is not None:
            return b""
        return self._match(text, at)

    def tick(self, at: float) -> bytes:
        """Time has passed; the bytes to send because of it."""
        if self.evidence is not None:
            return b""
        if self._hit is not None:
            if at - self._hit[1] >= self._timing.drain:
                self.evidence = self._hit[0]
            return b""
        answer = self._steps.send_now(at)
        self.evidence = self._finished(at) or self._overdue(at)
        return answer

    def out_of_time(self, limit: float) -> None:
        """The run's own deadline has come."""
        if self.evidence is None:
            self.evidence = self._hit[0] if self._hit else Evidence("suite_deadline", {"limit": f"{limit:g}"})

    # --- what is known ---------------------------------------------------------------------------------------

    @property
    def boot(self) -> Boot:
        """The current boot; a boot loop's last banner is told with the application that ran before it."""
        current = self._log.boot
        if self._hit is None or self._hit[0].id != "boot_loop":
            return current
        return replace(self._earlier, reset_reason=current.reset_reason)

    @property
    def reboots(self) -> int:
        """Boots after the first."""
        return max(0, self._log.boots - 1)

    @property
    def stage(self) -> BootStage:
        return self._log.stage

    @property
    def met(self) -> tuple[float, ...]:
        """Seconds that each met expectation took, in order."""
        return self._steps.times

    # --- the boot --------------------------------------------------------------------------------------------

    def _follow_boot(self, line: str, at: float) -> None:
        before = self._log.boot
        facts = self._log.feed(line)
        if Fact.BANNER in facts:
            self._earlier = before
        if self.reboots > self._suite.max_reboots:
            self._hit = (self._boot_loop(at), at)
            self._loop_reason(facts, line)
            return
        if Fact.BANNER in facts:
            self._banner_at, self._app_at = at, None
            self._crash = CrashReader()
        if Fact.DOWNLOAD in facts:
            reason = self._log.boot_mode or "waiting for download"
            self.evidence = Evidence("wrong_boot_mode", {"reason": shorten(reason)})
        elif self._log.stage is BootStage.APP:
            if self._app_at is None:
                self._app_at = at
            self.evidence = self._wrong_app(final=False)

    def _boot_loop(self, at: float) -> Evidence:
        return Evidence(
            "boot_loop",
            {
                "reboots": str(self.reboots),
                "seconds": f"{at:.1f}",
                "reason": self._log.boot.reset_reason or "reset reason not seen",
                "allowed": str(self._suite.max_reboots),
            },
        )

    def _wrong_app(self, *, final: bool) -> Evidence | None:
        unmet = wrong_app(self._suite.require, self._log.boot, self._log.app_name, final=final)
        if unmet is None and "app" not in self._suite.require and self.reboots == 0:
            unmet = not_written(self._written, self._log.boot, self._log.name_of)
        return unmet

    # --- forbidden lines ---------------------------------------------------------------------------------------

    def _forbidden(self, hit: Hit, line: str, at: float) -> Evidence:
        return evidence_of(hit, line, at - self._banner_at)

    def _finish_crash(self, line: str) -> None:
        """Take what a crash goes on to print into its evidence; the next banner or its last words end it."""
        assert self._hit is not None
        if self._hit[0].id == "boot_loop":
            self._loop_reason(self._log.feed(line), line)
        elif is_banner(line):
            self.evidence = self._hit[0]
        else:
            self._crash_words()

    def _crash_words(self) -> None:
        assert self._hit is not None
        self._hit = (with_last_words(self._hit[0], self._crash), self._hit[1])
        if self._crash.ended:
            self.evidence = self._hit[0]

    def _loop_reason(self, facts: Sequence[Fact], line: str) -> None:
        """The reset reason stands in the line after the banner, and may say more than that it loops (brownout)."""
        assert self._hit is not None
        if Fact.RESET_REASON not in facts:
            return
        evidence, since = self._hit
        hit = self._compiled.forbidden.find(line, app_started=False)
        if hit is not None:
            evidence = self._forbidden(hit, line, since)
        else:
            reason = self._log.boot.reset_reason or evidence.fields["reason"]
            evidence = Evidence(evidence.id, {**evidence.fields, "reason": reason})
        self._hit = (evidence, since)
        self.evidence = evidence

    # --- expectations ------------------------------------------------------------------------------------------

    def _match(self, text: str, at: float) -> bytes:
        met = len(self.met)
        answer = self._steps.match(text, at)
        if len(self.met) > met and not is_boot_text(text):
            self._app_spoke = True
        if self._suite.expect and self._steps.waiting is None:
            self.evidence = self._finished(at)
        return answer

    def _finished(self, at: float) -> Evidence | None:
        """`passed`, or `wrong_app` where a requirement stays unknown; None while something is still to come.

        Lines of the ROM and the bootloader come before an application that may still crash, and a step that only
        sends hears nothing: a suite of nothing else ends as one without steps.
        """
        since = self._steps.since if self._app_spoke else self._app_at
        if self._steps.waiting is not None or since is None:
            return None
        settled = at - since >= self._suite.settle
        if self._app_spoke or settled:
            unmet = self._wrong_app(final=True)
            if unmet is None:
                return Evidence("passed", {"summary": self._summary()})
            return unmet if settled else None
        return None

    def _summary(self) -> str:
        boot, name = self._log.boot, self._log.app_name
        identity = " ".join(part for part in (boot.project, boot.version) if part)
        boots = f"boots {name}" if name else "boots"
        if identity:
            boots += f": {identity}"
        total = len(self._suite.expect)
        return f"{total} of {total} expected lines, {boots}" if total else boots

    # --- time --------------------------------------------------------------------------------------------------

    def _overdue(self, at: float) -> Evidence | None:
        within, waiting, late = self._suite.boot_within, self._steps.waiting, self._steps.is_late(at)
        if self._log.stage is BootStage.NOTHING:
            # text without a banner may still be the application of a board whose ROM cannot be heard
            return self._silence(at) if at >= within and (self._last_byte is None or waiting is None or late) else None
        if self._log.stage is not BootStage.APP:
            # a bootloader that logs nothing may be followed by an application that takes its time
            if late or (at - self._banner_at >= within and (waiting is None or self._log.bootloader_talks)):
                return Evidence("no_app", {"within": f"{at - self._banner_at:.3g}"})
            return None
        return self._late(waiting, at) if late and waiting is not None else None

    def _silence(self, at: float) -> Evidence:
        if self._last_byte is None:
            return Evidence("silence", {"why": f"not one byte within {at:.3g} s"})
        return Evidence("silence", {"why": f"no ROM banner within {at:.3g} s, only text that is no boot log"})

    def _late(self, step: Expect, at: float) -> Evidence:
        silent = at - (self._last_byte if self._last_byte is not None else 0.0)
        expected = shorten(step.name or step.line or "")
        if silent >= max(self._timing.hang, step.within / 2):
            return Evidence("hang", {"silent": f"{silent:.1f}", "expected": expected})
        return Evidence("missing_line", {"within": f"{step.within:g}", "expected": expected})
