"""A checked hut.yml document → Project, and what its schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hut_ci import tables
from hut_ci.config.patterns import pattern_problems
from hut_ci.contracts import UNKNOWN_KEY, Problem, nearest
from hut_ci.errors import ConfigError
from hut_ci.model import ArtifactSelector, Expect, FlashSettings, Forbid, Needs, Project, Suite, Variant
from hut_ci.units import parse_offset, parse_size
from hut_ci.yaml_lines import Document, printable

Values = Mapping[str, Any]


def build(document: Document) -> Project:
    """The project of a document that the schema accepts."""
    data: Values = document.data
    artifact = _selector(data.get("artifact"), ArtifactSelector())
    variants = tuple(_variant(name, values or {}, artifact) for name, values in data.get("variants", {}).items())
    return Project(
        artifact=artifact,
        variants=variants or Project().variants,
        flash=_flash(data.get("flash", {})),
        suite=_suite(data.get("suite", {})),
        path=document.path,
        digest=document.digest,
    )


def contradictions(data: Values) -> list[Problem]:
    """What is wrong although the schema accepts it: patterns, rule names, two files at one offset."""
    suite: Values = data.get("suite", {})
    offsets = data.get("flash", {}).get("offsets", {})
    return [*_bad_patterns(suite), *_bad_rule_names(suite), *_shared_offsets(offsets)]


def with_unquoted_patterns(problems: list[Problem], data: Any) -> list[Problem]:
    """`problems`, but one alone for each pattern that its unquoted colon has turned into a mapping."""
    found: dict[tuple[str | int, ...], Problem] = {}
    for problem in problems:
        match problem.path:
            case ("suite", ("expect" | "forbid") as key, int(number), str(word)) if problem.message == UNKNOWN_KEY:
                entry = data["suite"][key][number]
                if len(entry) == 1 and isinstance(entry[word], str | None) and "did you mean" not in problem.todo:
                    found[problem.path[:3]] = _needs_quotes(problem.path[:3], f"{word}: {entry[word] or ''}".rstrip())
    return [*found.values(), *(problem for problem in problems if problem.path[:3] not in found)]


def _needs_quotes(path: tuple[str | int, ...], pattern: str) -> Problem:
    """In double quotes a backslash would start an escape; in single ones only the quote itself is doubled."""
    plain = '"' not in pattern and "\\" not in pattern
    quoted = f'"{pattern}"' if plain else "'" + pattern.replace("'", "''") + "'"
    return Problem(
        path,
        "a mapping where a pattern should be",
        "a colon and a space make a key and its value of it",
        f"quote the pattern: {printable(quoted, 200)}",
    )


def suite_is_empty(data: Values) -> bool:
    """Whether a suite is written down that checks nothing; a document without `suite` means the built-in rules."""
    if "suite" not in data:
        return False
    suite = data["suite"]
    if not isinstance(suite, Mapping) or any(suite.get(key) for key in ("expect", "forbid", "require")):
        return suite is None
    off = suite.get("off")
    return not suite or (isinstance(off, list) and set(map(str, off)) >= built_in_rules())


@cache
def built_in_rules() -> frozenset[str]:
    """Names of the rules that `suite.off` can switch off: read from their table, which the suite stage owns."""
    return frozenset(tables.rows(Path(__file__).parents[1] / "stages" / "rules.yml", "rules"))


def empty_suite(document: Document) -> ConfigError:
    return ConfigError(
        f"{document.path.name}:{document.line(('suite',))}: suite: checks nothing",
        why="a run that checks nothing would be green for every firmware",
        todo="remove `suite:` to use the built-in rules, or add `expect:`",
        evidence="empty_suite",
    )


def _selector(value: str | Values | None, default: ArtifactSelector) -> ArtifactSelector:
    """`value` over `default`; a plain text is the name."""
    values: Values = {"name": value} if isinstance(value, str) else value or {}
    return ArtifactSelector(
        workflow=values.get("workflow", default.workflow),
        job=values.get("job", default.job),
        name=values.get("name", default.name),
        path=values.get("path", default.path),
        events=tuple(values.get("events", default.events)),
    )


def _variant(name: str, values: Values, project: ArtifactSelector) -> Variant:
    needs = values.get("needs", {})
    return Variant(
        name=name,
        needs=Needs(
            chip=needs.get("chip"),
            flash=parse_size(needs["flash"]) if "flash" in needs else None,
            psram=parse_size(needs["psram"]) if "psram" in needs else None,
            tags=frozenset(needs.get("tags", ())),
        ),
        artifact=_selector(values["artifact"], project) if "artifact" in values else None,
    )


def _flash(values: Values) -> FlashSettings:
    erase = values.get("erase", "keep")
    return FlashSettings(
        mode=values.get("mode", "keep"),
        freq=values.get("freq", "keep"),
        size=values.get("size", "keep"),
        baud=values.get("baud"),
        erase=(erase,) if isinstance(erase, str) else tuple(erase),
        offsets={name: parse_offset(offset) for name, offset in values.get("offsets", {}).items()},
    )


def _suite(values: Values) -> Suite:
    default = Suite()
    return Suite(
        expect=tuple(_expect(step) for step in values.get("expect", ())),
        forbid=tuple(_forbid(number, rule) for number, rule in enumerate(values.get("forbid", ()), 1)),
        off=frozenset(values.get("off", ())),
        max_reboots=values.get("max_reboots", default.max_reboots),
        settle=float(values.get("settle", default.settle)),
        boot_within=float(values.get("boot_within", default.boot_within)),
        baud=values.get("baud", default.baud),
        require=dict(values.get("require", {})),
        retry_failures=values.get("retry_failures", default.retry_failures),
    )


def _expect(step: str | Values) -> Expect:
    values: Values = {"line": step} if isinstance(step, str) else step
    line, send = values.get("line"), values.get("send")
    return Expect(
        line=line,
        within=float(values.get("within", Expect(None).within)),
        send=send,
        name=values.get("name", line or "send"),
    )


def _forbid(number: int, rule: str | Values) -> Forbid:
    values: Values = {"line": rule} if isinstance(rule, str) else rule
    return Forbid(name=values.get("name", f"forbid-{number}"), line=values["line"])


def _bad_patterns(suite: Values) -> Iterator[Problem]:
    for key in ("expect", "forbid"):
        for number, entry in enumerate(suite.get(key, ())):
            line = entry if isinstance(entry, str) else entry.get("line")
            inside = () if isinstance(entry, str) else ("line",)
            if line is not None:
                yield from pattern_problems(line, ("suite", key, number, *inside))


def _bad_rule_names(suite: Values) -> Iterator[Problem]:
    rules = sorted(built_in_rules())
    for number, name in enumerate(suite.get("off", ())):
        if name not in rules:
            why = "only a built-in rule can be switched off"
            yield Problem(("suite", "off", number), f"{name} is no built-in rule", why, nearest(name, rules))
    for number, rule in enumerate(suite.get("forbid", ())):
        if isinstance(rule, Mapping) and rule.get("name") in rules:
            why = "a report could not tell the two apart"
            path = ("suite", "forbid", number, "name")
            yield Problem(path, f"{rule['name']} is a built-in rule", why, "give your rule another name")


def _shared_offsets(offsets: Values) -> Iterator[Problem]:
    seen: dict[int, str] = {}
    for name, written in offsets.items():
        offset = parse_offset(written)
        if offset in seen:
            yield Problem(
                ("flash", "offsets", name),
                f"{offset:#x} is the offset of {seen[offset]} too",
                "two files cannot start at the same byte",
                "correct one of the two offsets",
            )
        seen.setdefault(offset, name)
