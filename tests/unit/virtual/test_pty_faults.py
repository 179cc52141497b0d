"""Faults that only a device file can have: refused where the port is a TCP port, before anything runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hut_ci.errors import UsageError
from hut_ci.virtual.board import VirtualBoard
from hut_ci.virtual.faults import FAULTS
from hut_ci.virtual.lab import VirtualLab

PTY_ONLY = [name for name, kind in FAULTS.items() if "(pty only)" in kind.meaning]


def test_there_are_such_faults() -> None:
    assert PTY_ONLY == ["port_renamed", "port_held"] == [name for name, kind in FAULTS.items() if kind.pty_only]


@pytest.mark.parametrize("fault", PTY_ONLY)
def test_a_board_over_rfc2217_refuses_it(fault: str) -> None:
    threads = threading.active_count()
    with pytest.raises(UsageError, match=f"^hut-07: the fault {fault} needs a pty$") as refused:
        VirtualBoard("hut-07", transport="rfc2217", faults=["silent", fault])
    assert "pty" in refused.value.todo
    assert threading.active_count() == threads


@pytest.mark.parametrize("fault", PTY_ONLY)
def test_a_lab_over_rfc2217_refuses_it_and_ends_what_it_began(fault: str, tmp_path: Path) -> None:
    threads = threading.active_count()
    with (
        pytest.raises(UsageError, match="needs a pty"),
        VirtualLab(2, folder=tmp_path, faults={"hut-02": [fault]}),
    ):
        pass
    assert threading.active_count() == threads


@pytest.mark.parametrize("fault", PTY_ONLY)
def test_a_board_on_a_pty_takes_it(fault: str, tmp_path: Path) -> None:
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=[fault]) as board:
        assert Path(board.serial).exists()
