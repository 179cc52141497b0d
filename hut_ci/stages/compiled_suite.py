"""A suite whose patterns and names are known to be good, and its expectations as they are met."""

from __future__ import annotations

from dataclasses import dataclass

from hut_ci.board.pattern import Pattern, compile_pattern
from hut_ci.errors import ConfigError
from hut_ci.model import Expect, Suite
from hut_ci.stages.forbidden import ForbiddenLines
from hut_ci.stages.required_app import REQUIRABLE


@dataclass(frozen=True, slots=True)
class CompiledSuite:
    """`expect` pairs each step with its pattern; a step that waits for no line has none."""

    suite: Suite
    expect: tuple[tuple[Expect, Pattern | None], ...]
    forbidden: ForbiddenLines


def compile_suite(suite: Suite) -> CompiledSuite:
    """Check and compile every pattern and name; raises ConfigError. Cheap, so it is done before a board is claimed."""
    for key in suite.require:
        if key not in REQUIRABLE:
            raise ConfigError(f"suite.require: {key!r} is unknown", todo=f"the keys are: {', '.join(REQUIRABLE)}")
    expect = tuple(
        (step, None if step.line is None else compile_pattern(step.line, f"suite.expect {number}"))
        for number, step in enumerate(suite.expect, start=1)
    )
    return CompiledSuite(suite, expect, ForbiddenLines(suite))


class Expectations:
    """The ordered steps of a suite; `since` is when the waiting one began to wait, in seconds since the reset.

    A line may meet several steps, each in the text behind the one before, whether the line came whole or in pieces.
    """

    def __init__(self, steps: tuple[tuple[Expect, Pattern | None], ...]) -> None:
        self._steps = steps
        self._times: list[float] = []
        self._consumed = 0
        self.since = 0.0

    @property
    def waiting(self) -> Expect | None:
        """The step whose turn it is; None once all are met."""
        return self._steps[len(self._times)][0] if len(self._times) < len(self._steps) else None

    @property
    def times(self) -> tuple[float, ...]:
        """Seconds that each met step took, in order."""
        return tuple(self._times)

    def is_late(self, at: float) -> bool:
        step = self.waiting
        return step is not None and at - self.since >= step.within

    def match(self, text: str, at: float) -> bytes:
        """Meet what `text`, a line or its beginning, allows; the bytes to send for it."""
        answer = b""
        while (step := self.waiting) is not None:
            pattern = self._steps[len(self._times)][1]
            if pattern is not None:
                match = pattern.search(text, self._consumed)
                if match is None:
                    break
                self._consumed = max(match.end(), self._consumed + 1)
            answer += self._met(step, at)
        return answer

    def end_line(self) -> None:
        """The next text is a new line."""
        self._consumed = 0

    def send_now(self, at: float) -> bytes:
        """Take the steps that wait for no line."""
        answer = b""
        while (step := self.waiting) is not None and step.line is None:
            answer += self._met(step, at)
        return answer

    def _met(self, step: Expect, at: float) -> bytes:
        self._times.append(at - self.since)
        self.since = at
        if step.send is None:
            return b""
        return (step.send if step.send.endswith("\n") else step.send + "\n").encode()
