"""Watch a claimed board boot and judge what it prints: capture, reset, watch, in that order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from hut_ci.board.boot_log import BootStage
from hut_ci.board.capture import Capture
from hut_ci.board.line import Line
from hut_ci.deadline import Deadline
from hut_ci.errors import BoardError
from hut_ci.model import Case, Claim, Evidence, FlashPlan, Suite, SuiteResult
from hut_ci.stages.compiled_suite import CompiledSuite, compile_suite
from hut_ci.stages.suite_state import SuiteState, Timing

LOOK_EVERY = 0.05
"""Seconds of silence after which time-outs are looked at and an unfinished line is matched."""
LAST_LINES = 30

_LAB = frozenset({"silence", "wrong_boot_mode", "suite_deadline", "port_gone", "port_held"})
_ABOUT_THE_BOOT = frozenset({"silence", "wrong_boot_mode", "no_app", "wrong_app", "boot_loop", "port_gone"})
_ABOUT_A_STEP = frozenset({"missing_line", "hang", "suite_deadline"})


def run_suite(
    claim: Claim,  # noqa: ARG001 (the permission to touch the board)
    line: Line,
    suite: Suite,
    *,
    work: Path,
    deadline: Deadline,
    plan: FlashPlan | None,
    log_limit: int = 8 << 20,
    on_line: Callable[[str], None] | None = None,
    timing: Timing | None = None,
    reset: bool = True,
) -> SuiteResult:
    """Boot the board on `line` and watch it until `suite` is decided; everything it prints is logged in `work`.

    `log_limit` bounds each of the two logs in bytes; `on_line` is told every line as it comes. A port that vanishes
    is evidence, not an exception. Raises ConfigError for a suite that does not compile.
    """
    compiled = compile_suite(suite)
    written = {part.offset for part in plan.parts if part.purpose == "app"} if plan else set[int]()
    state = SuiteState(compiled, plan.partitions if plan else (), timing, written)
    with Capture(work, log_limit) as capture:
        watch = _Watch(line, capture, state, deadline, on_line)
        evidence = watch.run(reset=reset)
        seconds = watch.now
    return SuiteResult(
        evidence=evidence,
        boot=state.boot,
        reboots=state.reboots,
        cases=cases(compiled, state, evidence),
        last_lines=tuple(watch.last_lines),
        log=capture.text_path,
        seconds=round(seconds, 3),
    )


class _Watch:
    """The loop between a line and a state."""

    def __init__(
        self,
        line: Line,
        capture: Capture,
        state: SuiteState,
        deadline: Deadline,
        on_line: Callable[[str], None] | None,
    ) -> None:
        self._line = line
        self._capture = capture
        self._state = state
        self._deadline = deadline
        self._on_line = on_line
        self._zero = deadline.clock()
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def now(self) -> float:
        """Seconds since the reset."""
        return self._deadline.clock() - self._zero

    def run(self, *, reset: bool) -> Evidence:
        try:
            if reset:
                self._reset()
            while self._state.evidence is None:
                self._round()
        except BoardError as error:
            return Evidence(error.evidence, error.fields)
        finally:
            self._show(self._capture.cut())
        return self._state.evidence

    def _reset(self) -> None:
        """What comes before the chip is stopped belongs to an older boot: it is logged, not judged."""
        before = self._line.reset()
        self._zero = self._deadline.clock()
        if before:
            self._capture.feed(before, 0.0)
            self._capture.cut()

    def _round(self) -> None:
        chunk = self._line.read(self._deadline.within(LOOK_EVERY))
        at = self.now
        if chunk:
            self._take(chunk, at)
        elif partial := self._capture.partial:
            self._send(self._state.feed_partial(partial, at))
        self._send(self._state.tick(at))
        if self._deadline.expired:
            self._state.out_of_time(self._deadline.seconds)

    def _take(self, chunk: bytes, at: float) -> None:
        self._state.saw_bytes(at)
        for text in self._capture.feed(chunk, at):
            self._show(text)
            self._send(self._state.feed(text, at))

    def _show(self, text: str) -> None:
        if text:
            self.last_lines.append(text)
            if self._on_line is not None:
                self._on_line(text)

    def _send(self, data: bytes) -> None:
        if data:
            self._line.write(data, self._deadline.within(5.0))


def cases(compiled: CompiledSuite, state: SuiteState, evidence: Evidence) -> tuple[Case, ...]:
    """One case for the boot, one for the forbidden lines, one per expectation; what was not reached is skipped."""
    passed = evidence.id == "passed"
    bad = "error" if evidence.id in _LAB else "fail"
    reason = _reason(evidence)
    about_boot = evidence.id in _ABOUT_THE_BOOT
    booted = passed or state.stage is BootStage.APP
    boots = Case("boots", bad if about_boot else "pass" if booted else "skipped", 0.0, reason if about_boot else "")
    broken = not passed and not about_boot and evidence.id not in _ABOUT_A_STEP | _LAB
    clean = Case(
        "no forbidden line",
        "fail" if broken else "skipped" if evidence.id in _LAB else "pass",
        0.0,
        reason if broken else "",
    )
    return (boots, clean, *_expectations(compiled, state, evidence, bad, reason))


def _expectations(
    compiled: CompiledSuite, state: SuiteState, evidence: Evidence, bad: str, reason: str
) -> tuple[Case, ...]:
    found = []
    for number, (step, _) in enumerate(compiled.expect):
        name = step.name or step.line or f"send {(step.send or '').strip()}"
        if number < len(state.met):
            found.append(Case(name, "pass", round(state.met[number], 3)))
        elif number == len(state.met) and evidence.id in _ABOUT_A_STEP:
            found.append(Case(name, bad, 0.0, reason))
        else:
            found.append(Case(name, "skipped"))
    return tuple(found)


def _reason(evidence: Evidence) -> str:
    words = ", ".join(f"{key} {value}".strip() for key, value in evidence.fields.items() if key != "what")
    return f"{evidence.id}: {words}" if words else evidence.id
