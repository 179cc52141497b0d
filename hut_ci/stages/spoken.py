"""What a comment or a label asks for, word by word. Pure; anything that is not exactly a command is none."""

from __future__ import annotations

import re
from dataclasses import dataclass

WORD = "/hil"
LABEL = "hil"
MOST_NAMES = 16

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_PART = re.compile(rf"(?:(?P<name>{_NAME})|@(?P<sha>[0-9a-f]{{40}}))\Z")


@dataclass(frozen=True, slots=True)
class Command:
    """`names` of slots, labels, chips, tags and variants (none: all that fit); `sha` where a commit was named."""

    names: tuple[str, ...] = ()
    sha: str | None = None
    help: bool = False


def in_comment(text: str, word: str = WORD) -> Command | None:
    """The first line that is a command; None where there is none.

    `/hil`, `/hil hut-01 esp32`, `/hil @SHA`, `/hil help`: from the first column, with nothing else in the line.
    """
    for line in re.split(r"\r\n|\n|\r", text):
        words = line.rstrip(" \t").split(" ", MOST_NAMES + 2)
        if words[0] == word and (command := _command(words[1:])) is not None:
            return command
    return None


def in_label(label: str, prefix: str = LABEL) -> Command | None:
    """`hil` or `hil:NAME`; None for any other label."""
    if label == prefix:
        return Command()
    head, colon, name = label.partition(":")
    known = head == prefix and colon and re.fullmatch(_NAME, name)
    return Command((name,)) if known else None


def _command(words: list[str]) -> Command | None:
    if words == ["help"]:
        return Command(help=True)
    parts = [_PART.match(word) for word in words]
    if len(parts) > MOST_NAMES or not all(parts):
        return None
    names = tuple(part["name"] for part in parts if part and part["name"])
    shas = [part["sha"] for part in parts if part and part["sha"]]
    return Command(names, shas[0] if shas else None) if len(shas) <= 1 else None


def help_text(word: str = WORD) -> str:
    """What `/hil help` answers, as Markdown of ours."""
    return "\n".join(
        [
            "One line of a comment, with nothing else in it, asks for a test on real boards:",
            "",
            f"- `{word}`: on all slots that fit",
            f"- `{word} hut-01 hut-02`: on these slots; a runner label, chip, tag or variant of hut.yml will do, too",
            f"- `{word} @` and the 40 digits of this request's latest commit: of that one, as a fork's needs it",
            "",
            "Who may write to the repository may ask.",
        ]
    )
