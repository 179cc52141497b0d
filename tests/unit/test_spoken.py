"""security 2: a command is a whole line, letter for letter; anything else is none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hut_ci.stages.spoken import MOST_NAMES, Command, help_text, in_comment, in_label

SHA = "5e" * 20


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/hil", Command()),
        ("/hil  ", Command()),
        ("Looks good.\r\n/hil hut-01 hut-02\r\nThanks!", Command(("hut-01", "hut-02"))),
        ("/hil esp32", Command(("esp32",))),
        (f"/hil @{SHA}", Command((), SHA)),
        (f"/hil hut-01 @{SHA} i2s", Command(("hut-01", "i2s"), SHA)),
        ("/hil help", Command(help=True)),
        ("/hil $(id)\n/hil hut-01", Command(("hut-01",))),
        ("/hil hut-01\n/hil hut-02", Command(("hut-01",))),
    ],
)
def test_a_command(text: str, command: Command) -> None:
    assert in_comment(text) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "please /hil",
        " /hil",
        "> /hil",
        "`/hil`",
        "/HIL",
        "/hilarious",
        "/hil\thut-01",
        "/hil  hut-01",
        "/hil hut-01, hut-02",
        "/hil hut-01;id",
        "/hil $(id)",
        "/hil `id`",
        "/hil -x",
        "/hil ../hut-01",
        f"/hil @{SHA[:12]}",
        f"/hil @{SHA.upper()}",
        f"/hil @{SHA} @{SHA}",
        "/hil @main",
        "/hil @refs/pull/1/head",
        "/hil hut-01\u202e",
        "/hil\u00a0hut-01",
        "/hil hut-01\x1b[2J",
        "/hil\x0b",
        "/hil\u2028hut-01",
        "/hil " + "x" * 65,
        "/hil " + " ".join(["hut-01"] * 17),
        "/hil" * 250_000,
        "/hil " + "a " * 500_000,
        "<!-- \n /hil\n-->",
    ],
)
def test_nothing_else_is_one(text: str) -> None:
    assert in_comment(text) is None


PARTS = ("/hil", "/HIL", " ", "\t", "hut-01", f"@{SHA}", f"@{SHA[:12]}", "help", "\n", "\r\n", "\u2028", ";")
WRITTEN = ["".join(parts) for length in range(5) for parts in itertools.product(PARTS, repeat=length)]
"""Everything of up to four parts."""
LINE = re.compile(r"/hil(?: (?P<words>[A-Za-z0-9@._-]+(?: [A-Za-z0-9@._-]+)*))?[ \t]*")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}|@[0-9a-f]{40}")


def commands(text: str) -> list[Command]:
    """The grammar of docs/triggers.md once more, in another way."""
    found = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        words = (match["words"] or "").split(" ") if (match := LINE.fullmatch(line)) else ["?"]
        words = [word for word in words if word]
        shas = [word[1:] for word in words if word.startswith("@")]
        if words == ["help"]:
            found.append(Command(help=True))
        elif all(WORD.fullmatch(word) for word in words) and len(words) <= MOST_NAMES and len(shas) <= 1:
            names = tuple(word for word in words if not word.startswith("@"))
            found.append(Command(names, shas[0] if shas else None))
    return found


def test_whatever_is_written_the_first_whole_line_counts() -> None:
    """security 2: no more is understood than the grammar has, and no less."""
    assert [text for text in WRITTEN if in_comment(text) != next(iter(commands(text)), None)] == []


@settings(deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=8).map("".join))
def test_whatever_is_written_between_it(text: str) -> None:
    assert in_comment(text) == next(iter(commands(text)), None)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["hil", ":", "hut-01", "-", " "]) | st.text(max_size=3), max_size=5).map("".join))
def test_whatever_a_label_is_called(name: str) -> None:
    command = in_label(name)
    assert (command is not None) == (re.fullmatch(r"hil(:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?", name) is not None)
    assert command is None or name == ":".join(["hil", *command.names])


FORGIVING: list[Callable[[str], str]] = [
    str.strip,
    str.lower,
    lambda text: text.replace("\u2028", "\n"),
    lambda text: text.replace("  ", " "),
    lambda text: text.partition(";")[0],
]


@pytest.mark.parametrize("forgive", FORGIVING)
def test_a_reader_that_forgives_is_found_by_what_is_written(forgive: Callable[[str], str]) -> None:
    """The control: some of these texts only a looser reader would run."""
    assert any(in_comment(text) is None and commands(forgive(text)) for text in WRITTEN)


def test_the_word_is_the_projects() -> None:
    assert in_comment("/hardware", "/hardware") == Command()
    assert in_comment("/hil", "/hardware") is None
    assert "`/hardware hut-01" in help_text("/hardware")


def test_help_names_no_command_that_would_run() -> None:
    assert in_comment(help_text()) is None


@pytest.mark.parametrize(
    ("label", "command"),
    [
        ("hil", Command()),
        ("hil:hut-01", Command(("hut-01",))),
        ("hil:esp32", Command(("esp32",))),
        ("hil:", None),
        ("hil: hut-01", None),
        ("hil:$(id)", None),
        ("hil:hut-01\n", None),
        ("hil2", None),
        ("HIL", None),
        ("bug", None),
    ],
)
def test_a_label(label: str, command: Command | None) -> None:
    assert in_label(label) == command
