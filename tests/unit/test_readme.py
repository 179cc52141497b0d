"""README.md says what is so: its files load, its commands exist, its exit codes are the program's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hut_ci import config, errors
from hut_ci.cli import COMMANDS
from hut_ci.stages.verdict import table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
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
