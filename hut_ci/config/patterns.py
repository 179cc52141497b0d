"""Checks of RE2 patterns at load, so that a bad one is refused with its line and not in the middle of a run."""

from __future__ import annotations

from hut_ci.contracts import Problem
from hut_ci.yaml_lines import KeyPath, printable


def pattern_problems(pattern: str, path: KeyPath) -> list[Problem]:
    """Problems of one pattern: it has to compile with RE2 and may not match an empty line."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error.args[0])
        return [
            Problem(
                path,
                f"not an RE2 pattern: {printable(said)}",
                "patterns are RE2, which has no look-around and no back-references and cannot hang",
                r"escape special characters, such as `\(`",
            )
        ]
    if compiled.search("") is None:
        return []
    return [
        Problem(
            path,
            f"matches an empty line: {printable(pattern)}",
            "a pattern that matches every line shows nothing",
            "name some text that the line has to hold",
        )
    ]
