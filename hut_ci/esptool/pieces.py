"""Which files one write call gets: the parts of a plan, or slices of them, so that what is equal need not be sent.

esptool compares whole files with the chip (one hash each). Slices make that finer: after a small change of a 1.5 MB
application 3 s instead of 16 s at 921600 baud. Each slice costs about 60 ms, because the chip has to finish one before
the next begins (+5 % where everything differs), so slices are used only where something equal is likely to be found.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from hut_ci.model import FlashPlan, Part

SLICE = 128 << 10
"""Bytes: two erase blocks, aligned, so that no block is erased twice. Larger than any bootloader (below 0x8000), so
that the first slice of a merged image still holds the whole header and image that esptool checks and patches."""

_NAME_OFFSET, _NAME_BYTES = 0x50, 32
"""Where an application image holds its project name: esp_app_desc_t behind image and segment header (ESP-IDF)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes of `part` that go to `offset`; `index` is the part's place in the plan."""

    offset: int
    size: int
    part: Part
    index: int

    @property
    def file_name(self) -> str:
        """A name of our own: what a build calls its files is not for esptool's ears."""
        return f"{self.offset:#010x}.bin"

    def read(self, limit: int = -1) -> bytes:
        """The bytes of this piece, or the first `limit` of them."""
        with self.part.path.open("rb") as stream:
            stream.seek(self.offset - self.part.offset)
            return stream.read(self.size if limit < 0 else min(limit, self.size))


def pieces(plan: FlashPlan, *, sliced: bool) -> tuple[Piece, ...]:
    """The files to write, in ascending order of offset as in the plan."""
    return tuple(
        Piece(start, end - start, part, index)
        for index, part in enumerate(plan.parts)
        for start, end in (_slices(part) if sliced else [(part.offset, part.offset + part.size)])
    )


def _slices(part: Part) -> list[tuple[int, int]]:
    end = part.offset + part.size
    if part.size < 2 * SLICE:
        return [(part.offset, end)]
    cuts = [part.offset, *range((part.offset // SLICE + 1) * SLICE, end, SLICE), end]
    return list(itertools.pairwise(cuts))


@dataclass(frozen=True, slots=True)
class Probe:
    """A few bytes that tell whether the chip holds an earlier build of the same project."""

    offset: int
    expected: bytes


def probe(plan: FlashPlan) -> Probe | None:
    """The project name of the largest application; None where slicing could not help or nothing can be compared."""
    largest = max(plan.parts, key=lambda part: part.size, default=None)
    if largest is None or largest.size < 2 * SLICE or plan.erase_all:
        return None
    for app in plan.apps:
        start = app.offset + _NAME_OFFSET - largest.offset
        if start >= 0 and start + _NAME_BYTES <= largest.size:
            with largest.path.open("rb") as stream:
                stream.seek(start)
                name = stream.read(_NAME_BYTES)
            return Probe(app.offset + _NAME_OFFSET, name) if name.strip(b"\0\xff") else None
    return None


def reads_as_hex(plan: FlashPlan) -> Piece | None:
    """The first piece that esptool would take for Intel HEX, and write where *that* says instead of the plan."""
    either = {*pieces(plan, sliced=True), *pieces(plan, sliced=False)}
    return next((piece for piece in either if re.match(rb":[0-9A-Fa-f]{10}", piece.read(16))), None)
