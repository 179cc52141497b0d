"""Patterns from outside: RE2, whose matching time is linear in the line, whatever the pattern."""

from __future__ import annotations

from typing import Protocol, cast

from hut_ci.errors import ConfigError

PATTERN_LIMIT = 2000
"""Characters; longer patterns are refused."""


class Match(Protocol):
    def group(self, name: str | int = 0, /) -> str | None: ...
    def start(self) -> int: ...
    def end(self) -> int: ...


class Pattern(Protocol):
    @property
    def pattern(self) -> str: ...
    @property
    def groupindex(self) -> dict[str, int]: ...
    def search(self, text: str, pos: int | None = None, /) -> Match | None: ...


def _compile(text: str, *, captures: bool) -> Pattern:
    import re2

    options = re2.Options()
    options.log_errors = False  # RE2 writes its own diagnosis to stderr otherwise
    options.never_capture = not captures
    return cast(Pattern, re2.compile(text, options))


def compile_pattern(text: str, where: str) -> Pattern:
    """An RE2 pattern that is searched in one line at a time.

    `where` names the key that holds it, for the message. Raises ConfigError for what RE2 does not take:
    back-references, look-around, a syntax error, or more than `PATTERN_LIMIT` characters.
    """
    import re2

    if len(text) > PATTERN_LIMIT:
        raise ConfigError(
            f"{where}: the pattern has {len(text)} characters, {PATTERN_LIMIT} are allowed",
            todo="match a shorter part of the line",
        )
    try:
        return _compile(text, captures=True)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ConfigError(
            f"{where}: {text[:80]!r} is not a valid pattern ({reason[:120]})",
            why="patterns are RE2, which cannot hang a run and therefore knows no back-references and no look-around",
            todo="write the pattern without them, or match the literal text with \\Q…\\E",
        ) from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{where}: the pattern is not valid text", todo="write it in UTF-8") from error


def compile_any(patterns: tuple[str, ...]) -> Pattern:
    """One pattern that is found wherever any of `patterns` is; each of them has to be valid by itself."""
    return _compile("|".join(f"(?:{pattern})" for pattern in patterns), captures=False)
