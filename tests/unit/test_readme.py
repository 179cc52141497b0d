"""README.md says what is so: its files load, its commands exist, its exit codes are the program's."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from hut_ci import config, errors
from hut_ci.cli import COMMANDS
from hut_ci.stages.verdict import table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCKS = re.findall(r"```yaml\n# (lab|hut)\.yml\n(.*?)```", README, re.S)


def test_there_are_both_files() -> None:
    assert {name for name, _ in BLOCKS} == {"lab", "hut"}


@pytest.mark.parametrize(("name", "text"), BLOCKS)
def test_its_files_load(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.yml"
    path.write_text(text)
    if name == "lab":
        assert len(config.load_lab(path, {}).slots) == 2
        assert len(text.splitlines()) <= 10, "a lab of two boards is ten lines"
    else:
        assert config.load_project(path).suite.expect


def test_its_commands_exist() -> None:
    named = set(re.findall(r"hut-ci ([a-z-]+)", README))
    assert named >= {"demo", "run", "slots"}
    assert named - {"demo"} <= set(COMMANDS), named - set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_files_load(page: Path, tmp_path: Path) -> None:
    for text in re.findall(r"```yaml\n# hut\.yml\n(.*?)```", page.read_text("utf-8"), re.S):
        (tmp_path / "hut.yml").write_text(text)
        assert config.load_project(tmp_path / "hut.yml").variants


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_commands_and_options_exist(page: Path) -> None:
    """Each `hut-ci …` line of an indented block is parsed as the program would, each option named anywhere exists."""
    import click

    from hut_ci.cli import hut_ci

    text = page.read_text("utf-8")
    for line in re.findall(r"^    hut-ci (.+)$", text, re.M):
        words = shlex.split(line.partition("  #")[0].partition(" > ")[0].replace("$(git rev-parse HEAD)", "5" * 40))
        command: click.Command | None = hut_ci
        while isinstance(command, click.Group) and not (command.invoke_without_command and words[0].startswith("-")):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, line
        command.make_context("hut-ci", words, resilient_parsing=False)
    options = {option for name in COMMANDS for option in all_options(hut_ci.get_command(click.Context(hut_ci), name))}
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= options


def all_options(command: Any) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts}
    return found.union(*(all_options(inner) for inner in getattr(command, "commands", {}).values()))


def test_its_exit_codes_are_the_programs() -> None:
    listed = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", README, re.M) for code in row.split(",")}
    classes = {
        kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")
    }
    rows = {row.exit for row in table().values()}
    assert listed == classes | rows | {129, 130, 143}


def test_two_commands_come_first() -> None:
    commands = re.findall(r"^    (make \w+)$", README, re.M)
    assert commands[:2] == ["make demo", "make test"]
