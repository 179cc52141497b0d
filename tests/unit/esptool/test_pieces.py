"""Slices cover a plan exactly, and are cut where no erase block is touched twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.esptool.call import write_arguments
from hut_ci.esptool.pieces import SLICE, Probe, pieces, probe, reads_as_hex
from hut_ci.model import AppDescriptor, FlashPlan, Part

DESCRIPTOR = AppDescriptor("player", "1.2", "v5.1", "", None, 0x10000)


def part(folder: Path, offset: int, data: bytes, name: str = "app") -> Part:
    path = folder / f"{name}-{offset:x}.bin"
    path.write_bytes(data)
    return Part(offset, path, len(data), "", "app", name)


def app_image(size: int, project: bytes = b"player") -> bytes:
    return bytes(0x50) + project.ljust(32, b"\0") + b"\xa5" * (size - 0x70)


@given(st.integers(0, 15 << 20), st.integers(1, 4 << 20))
def test_slices_are_the_part_without_gap_or_overlap(offset: int, size: int) -> None:
    plan = FlashPlan((Part(offset, Path("x"), size, "", "app", "x"),), "esp32", "t")
    files = pieces(plan, sliced=True)
    assert files[0].offset == offset
    assert files[-1].offset + files[-1].size == offset + size
    for before, after in itertools.pairwise(files):
        assert before.offset + before.size == after.offset
        assert after.offset % SLICE == 0
    assert pieces(plan, sliced=False)[0].size == size


def test_a_slice_holds_the_bytes_of_its_place(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2048
    plan = FlashPlan((part(tmp_path, 0x10000, data),), "esp32", "t")
    assert b"".join(piece.read() for piece in pieces(plan, sliced=True)) == data


def test_the_first_slice_of_a_merged_image_holds_the_bootloader() -> None:
    plan = FlashPlan((Part(0, Path("x"), 1 << 20, "", "app", "x"),), "esp32s3", "t")
    assert pieces(plan, sliced=True)[0].size == SLICE > 0x8000


def test_the_probe_is_the_project_name(tmp_path: Path) -> None:
    plan = FlashPlan((part(tmp_path, 0x10000, app_image(2 * SLICE)),), "esp32", "t", apps=(DESCRIPTOR,))
    assert probe(plan) == Probe(0x10050, b"player".ljust(32, b"\0"))


@pytest.mark.parametrize("case", ["small", "no-descriptor", "blank-name", "erase-all", "elsewhere"])
def test_no_probe_where_slices_cannot_help(tmp_path: Path, case: str) -> None:
    image = app_image(SLICE if case == "small" else 2 * SLICE, b"" if case == "blank-name" else b"player")
    apps = () if case == "no-descriptor" else (DESCRIPTOR,)
    offset = 0x20000 if case == "elsewhere" else 0x10000
    plan = FlashPlan((part(tmp_path, offset, image),), "esp32", "t", apps=apps, erase_all=case == "erase-all")
    assert probe(plan) is None


def test_a_file_that_esptool_would_convert_is_found(tmp_path: Path) -> None:
    """Security 10: offsets come from the plan, never from inside a file."""
    hexed = b":020000040800F2\n:0400000001020304F2\n:00000001FF\n"
    assert reads_as_hex(FlashPlan((part(tmp_path, 0x10000, hexed),), "esp32", "t"))
    inside = b"\xff" * 0x10000 + hexed + b"\xff" * (2 * SLICE)
    assert reads_as_hex(FlashPlan((part(tmp_path, 0x10000, inside),), "esp32", "t")), "at the start of a slice"
    harmless = FlashPlan((part(tmp_path, 0x10000, b": not hex at all" * 100),), "esp32", "t")
    assert reads_as_hex(harmless) is None


def test_arguments_are_todays_and_names_are_ours(tmp_path: Path) -> None:
    """Security 10, 14: no name of the build reaches the command line, operands come after `--`."""
    plan = FlashPlan((part(tmp_path, 0x1000, b"x", "--erase-all"),), "esp32", "t", "dio", "40m", "4MB")
    arguments = write_arguments(plan, pieces(plan, sliced=False))
    assert arguments == [
        *["write-flash", "--flash-mode", "dio", "--flash-freq", "40m", "--flash-size", "4MB"],
        *["--skip-flashed", "--", "0x1000", "0x00001000.bin"],
    ]
    assert "--erase-all" in write_arguments(FlashPlan(plan.parts, "esp32", "t", erase_all=True), ())
