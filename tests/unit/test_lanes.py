"""In the lane `upstream` nothing reaches a board: each command is classed, and the classed ones refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from test_help import ALL

from hut_ci.cli.lanes import AT_THE_LAB, WITHOUT_A_BOARD

WORDS = {
    "slots hold": ("hut-01", "--for", "1m", "--why", "x"),
    "slots steal": ("hut-01", "--for", "1m", "--why", "x"),
    "slots run": ("hut-01", "--", "true"),
    "learn": ("build",),
    "watch job": ("0123456789abcdef-0", "--out", "report"),
    **dict.fromkeys(("monitor", "slots release"), ("hut-01",)),
    **{f"power {name}": ("hut-01",) for name in ("cycle", "off", "on", "status", "test")},
}


def hut_ci(folder: Path, lane: str, *argv: str) -> tuple[int, str]:
    """Exit code and standard error; the lab.yml that is named does not exist."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "HUT_CI_LANE": lane,
        "HUT_CI_LAB": str(folder / "none.yml"),
    }
    script = Path(sys.executable).with_name("hut-ci")
    ended = subprocess.run(
        [script, *argv], env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    return ended.returncode, ended.stderr


def test_each_command_is_in_one_class() -> None:
    names = {" ".join(path) for path, command in ALL.items() if not isinstance(command, click.Group)}
    assert names == AT_THE_LAB | WITHOUT_A_BOARD
    assert not AT_THE_LAB & WITHOUT_A_BOARD


@pytest.mark.parametrize("name", sorted(AT_THE_LAB))
def test_what_reaches_a_board_refuses_before_it_reads_lab_yml(tmp_path: Path, name: str) -> None:
    code, told = hut_ci(tmp_path, "upstream", *name.split(), *WORDS.get(name, ()))
    assert (code, "lane upstream" in told, "none.yml" in told) == (9, True, False), told


@pytest.mark.parametrize("lane", ["", "local-hil"])
def test_at_the_lab_the_same_command_reads_lab_yml(tmp_path: Path, lane: str) -> None:
    """The control of the refusals."""
    code, told = hut_ci(tmp_path, lane, "power", "status", "hut-01")
    assert (code, "none.yml" in told) == (2, True), told


def test_a_lane_that_does_not_exist(tmp_path: Path) -> None:
    code, told = hut_ci(tmp_path, "Upstream", "slots", "list")
    assert (code, "HUT_CI_LANE is 'Upstream'" in told) == (2, True), told
