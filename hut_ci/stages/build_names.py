"""Names of artifacts and jobs: whether one fits a pattern or holds a word, and how several are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from hut_ci.reports.escaping import cut, plain

SHOWN = 12


def glob(pattern: str, blanks: Mapping[str, str]) -> Callable[[str], bool]:
    """`*` matches any text; each of `blanks`, such as `{sha}`, stands for its value.

    Linear in the name: the pieces between the stars are looked for from left to right. A branch's `/` is missing or
    another character in an artifact's name, so that {branch} is compared without it.
    """
    pieces = [piece.casefold() for piece in _filled(pattern, blanks).split("*")]

    def fits(name: str) -> bool:
        text = _flat(name)
        first, last = _flat(pieces[0]), _flat(pieces[-1])
        if len(pieces) == 1:
            return text == first
        if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in map(_flat, pieces[1:-1]):
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return fits


def _flat(text: str) -> str:
    """Names are compared without regard to case, and without the characters that a forge takes out of a branch."""
    return text.casefold().replace("/", "")


def _filled(pattern: str, blanks: Mapping[str, str]) -> str:
    for name, value in blanks.items():
        pattern = pattern.replace(name, value.replace("*", ""))
    return pattern


def holds_word(name: str, word: str) -> bool:
    """Whether `word` stands in a name, between its ends or `-`, `_`, `.` and spaces."""
    return re.search(rf"(?:^|[-_. ]){re.escape(word.casefold())}(?:[-_. ]|$)", name.casefold()) is not None


def all_words(name: str, words: Iterable[str]) -> bool:
    return all(holds_word(name, word) for word in words)


def shown(text: str) -> str:
    """A name from outside, for a sentence."""
    return cut(plain(text), 80)


def listed(names: Iterable[str]) -> str:
    ordered = sorted(names) if isinstance(names, set) else names
    texts = [shown(name) or "(no name)" for name in ordered]
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
