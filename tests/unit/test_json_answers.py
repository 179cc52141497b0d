"""`--json` answers a program exactly once, also when the command fails."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import click
import pytest
from test_help import ALL

from hut_ci.cli import hut_ci
from hut_ci.cli.json_answers import give, tell_errors_in_json
from hut_ci.errors import Cancelled, HutCiError, SlotError

BUSY = SlotError("hut-01 is in use", why="by alice", todo="wait")


def called(capsys: pytest.CaptureFixture[str], command: click.Command, *words: str) -> tuple[Exception | None, str]:
    """What `command` raised, and what it printed on standard output."""
    raised: Exception | None = None
    try:
        command.main(list(words), standalone_mode=False)
    except Exception as error:  # whatever it is, the test looks at it
        raised = error
    return raised, capsys.readouterr().out


def failing(error: HutCiError, document: object = None) -> click.Command:
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        if document and as_json:
            give(document)
        raise error

    tell_errors_in_json(command)
    return command


@pytest.mark.parametrize(("error", "code"), [(BUSY, 4), (Cancelled(signal.SIGTERM), 143)])
def test_an_error_is_an_answer(capsys: pytest.CaptureFixture[str], error: HutCiError, code: int) -> None:
    raised, out = called(capsys, failing(error), "--json")
    told = json.loads(out)
    assert raised is error, "people are told, too, and the exit code stays"
    assert told == {"error": error.what, "why": error.why, "advice": error.todo, "exit_code": code}


def test_people_are_not_told_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys, failing(BUSY)) == (BUSY, "")


def test_what_was_answered_stays_the_only_answer(capsys: pytest.CaptureFixture[str]) -> None:
    raised, out = called(capsys, failing(BUSY, {"problems": 1}), "--json")
    assert (raised, json.loads(out)) == (BUSY, {"problems": 1})


NEEDED: dict[str, Any] = {
    "slots hold": ("hut-01", "--why", "x"),
    "slots release": ("hut-01",),
    "slots steal": ("hut-01", "--why", "x"),
    "power cycle": ("hut-01",),
    "power on": ("hut-01",),
    "power off": ("hut-01",),
    "power status": ("hut-01",),
    "power test": ("hut-01",),
}
ANSWERING = [
    " ".join(path)
    for path, command in ALL.items()
    if path[0] in ("power", "slots") and any(parameter.name == "as_json" for parameter in command.params)
]


@pytest.mark.parametrize("name", [name for name in ANSWERING if name != "slots inventory"])  # it needs no lab.yml
def test_every_command_about_a_lab_says_so_where_there_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    words = [*name.split(), *NEEDED.get(name, ()), "--json", "--lab", str(tmp_path / "none.yml")]
    raised, out = called(capsys, hut_ci, *words)
    assert isinstance(raised, HutCiError)
    assert (json.loads(out)["exit_code"], "none.yml" in out) == (2, True)
