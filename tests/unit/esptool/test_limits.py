"""How long a write may take before it counts as hung."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.esptool.session import write_seconds
from hut_ci.model import FlashPlan, Part


def plan(size: int, *, erase_all: bool = False) -> FlashPlan:
    return FlashPlan((Part(0x10000, Path("x"), size, "", "app", "x"),), "esp32", "t", erase_all=erase_all)


@pytest.mark.parametrize(
    ("size", "baud", "usual"),
    [(1_611_488, 921600, 15.0), (1_200_000, 460800, 25.0), (1_560_000, 115200, 92.0), (16 << 20, 921600, 160.0)],
)
def test_three_times_what_real_boards_need(size: int, baud: int, usual: float) -> None:
    assert 3 * usual <= write_seconds(plan(size), baud) <= 10 * usual


def test_erasing_a_whole_chip_takes_its_time() -> None:
    assert write_seconds(plan(4096, erase_all=True), 921600) >= 90 + write_seconds(plan(4096), 921600)
