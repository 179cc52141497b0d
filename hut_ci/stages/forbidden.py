"""The lines that fail a run: the built-in rules of rules.yml, and the project's own."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hut_ci import tables
from hut_ci.board.crash import CrashReader
from hut_ci.board.pattern import Pattern, compile_any, compile_pattern
from hut_ci.errors import ConfigError
from hut_ci.model import Evidence, Forbid, Suite

FIELD_LIMIT = 160
"""Characters of a board's own words in a sentence."""


def shorten(text: str) -> str:
    """At most `FIELD_LIMIT` characters of `text`."""
    return text if len(text) <= FIELD_LIMIT else text[: FIELD_LIMIT - 1] + "…"


@dataclass(frozen=True, slots=True)
class Rule:
    """One forbidden line; `before_app` limits it to the time before the application starts."""

    name: str
    pattern: Pattern
    evidence: str
    before_app: bool = False
    means: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A forbidden line was seen; `reason` is the part of it that says what happened."""

    rule: Rule
    reason: str


def evidence_of(hit: Hit, line: str, seconds: float) -> Evidence:
    """What a forbidden `line`, `seconds` after the last banner, is evidence of."""
    row, after, reason = hit.rule.evidence, f"{seconds:.1f}", shorten(hit.reason)
    fields = {
        "panic": {"where": "", "reason": reason, "seconds": after},
        "abort": {"where": reason, "seconds": after},
        "watchdog": {"reason": reason, "seconds": after},
        "brownout": {"seconds": after},
        "forbidden_line": {"rule": hit.rule.name, "line": shorten(line.strip())},
    }
    return Evidence(row, fields.get(row, {"reason": reason}))


def with_last_words(evidence: Evidence, crash: CrashReader) -> Evidence:
    """A crash's evidence with what it went on to print: reason, task, place in the source."""
    fields = dict(evidence.fields)
    if evidence.id == "panic":
        fields["where"] = f"task {shorten(crash.task)}: " if crash.task else ""
        fields["reason"] = shorten(crash.reason or fields["reason"])
    elif evidence.id == "abort":
        fields["where"] = shorten(crash.where or fields["where"])
    return Evidence(evidence.id, fields)


@functools.cache
def built_in_rules() -> tuple[Rule, ...]:
    """The rules of rules.yml, in the order in which they are asked."""
    return tuple(
        Rule(
            name,
            compile_pattern(row["line"], f"rules.yml: {name}"),
            row["evidence"],
            row.get("before_app", False),
            row["means"],
        )
        for name, row in tables.rows(Path(__file__).with_name("rules.yml"), "rules").items()
    )


class ForbiddenLines:
    """Every rule that is on for one suite; raises ConfigError for a bad pattern or an unknown rule name."""

    def __init__(self, suite: Suite) -> None:
        known = {rule.name for rule in built_in_rules()}
        _check_names(suite, known)
        own = [_own_rule(forbid, number) for number, forbid in enumerate(suite.forbid, start=1)]
        self.rules: tuple[Rule, ...] = (*(rule for rule in built_in_rules() if rule.name not in suite.off), *own)
        self._any = compile_any(tuple(rule.pattern.pattern for rule in self.rules)) if self.rules else None

    def find(self, line: str, *, app_started: bool) -> Hit | None:
        """The first rule that `line` breaks."""
        if self._any is None or self._any.search(line) is None:  # nearly every line ends here, after one search
            return None
        for rule in self.rules:
            if rule.before_app and app_started:
                continue
            match = rule.pattern.search(line)
            if match is not None:
                reason = match.group("reason") if "reason" in rule.pattern.groupindex else None
                return Hit(rule, (reason or line).strip())
        return None


def _own_rule(forbid: Forbid, number: int) -> Rule:
    where = f"suite.forbid {forbid.name or number}"
    return Rule(forbid.name or f"line {number}", compile_pattern(forbid.line, where), forbid.evidence)


def _check_names(suite: Suite, known: set[str]) -> None:
    for name in sorted(suite.off - known):
        raise ConfigError(f"suite.off: there is no built-in rule {name!r}", todo=_advice(name, sorted(known)))
    for forbid in suite.forbid:
        if forbid.name in known:
            raise ConfigError(
                f"suite.forbid: {forbid.name!r} is the name of a built-in rule",
                todo="give the rule another name; switch the built-in one off under suite.off if it is in the way",
            )


def _advice(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the rules are: {', '.join(known)}"
