"""security 2: a command is a whole line, letter for letter; anything else is none."""

from __future__ import annotations

import pytest

from hut_ci.stages.spoken import Command, help_text, in_comment, in_label

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
