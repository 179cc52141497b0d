"""How far esptool is, read from its text as it arrives.

Pure: bytes in, events out (esptool 5.6 without a terminal prints one full line per block of 16 KiB).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from hut_ci.esptool.pieces import Piece

_STARTED = re.compile(r"^Writing '.*' at (0x[0-9a-f]+)\.\.\.")
_PERCENT = re.compile(r"^Writing at (0x[0-9a-f]+) .*?(\d+(?:\.\d+)?)%")
_SKIPPED = re.compile(r"^.* at 0x[0-9a-f]+ already in flash, skipping write\.")


@dataclass(frozen=True, slots=True)
class Progress:
    """One step forward: `stage` is connect, identify, erase, write, verify, skip, retry or failed.

    `part` counts from 0 in the order of the plan, `percent` is that of the file being sent (a part, or a slice of one),
    `done` and `total` are bytes of the whole plan.
    """

    stage: str
    text: str
    part: int | None = None
    percent: float = 0.0
    done: int = 0
    total: int = 0


@dataclass(slots=True)
class ProgressReader:
    """Turns esptool's output, as it arrives, into `Progress`; knows the files, so that it can count bytes.

    `current` is the file that the text is about, `in_flight` what was sent of it before esptool reports it as written.
    """

    files: Sequence[Piece] = ()
    in_flight: int = 0
    current: Piece | None = None
    _rest: bytes = b""
    _finished: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        if len(self.files) == 1:  # a single file is not announced
            self.current = self.files[0]

    def feed(self, chunk: bytes) -> list[Progress]:
        """The events in the lines that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).replace(b"\r", b"\n").split(b"\n")
        self._rest = self._rest[-4096:]  # a board's garbage need not contain a newline
        events = (self._line(line.decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event]

    def _line(self, line: str) -> Progress | None:
        if found := _STARTED.match(line):
            offset = int(found[1], 16)
            self.current = next((piece for piece in self.files if piece.offset == offset), None)
            return None
        if found := _PERCENT.match(line):
            percent = float(found[2])
            self.in_flight = int(self.current.size * percent / 100) if self.current else 0
            return self._event("write", f"writing {self._name()}", percent)
        if _SKIPPED.match(line):
            return self._finish("skip", "already on the chip:")
        if line.startswith("Hash of data verified."):
            return self._finish("verify", "verified")
        if line.startswith("Wrote "):
            self.in_flight = 0
        for start, stage, text in _STAGES:
            if line.startswith(start):
                return self._event(stage, text, 0.0)
        return None

    def _finish(self, stage: str, text: str) -> Progress:
        if self.current:
            self._finished.add(self.current.offset)
        return self._event(stage, f"{text} {self._name()}", 100.0)

    def _event(self, stage: str, text: str, percent: float) -> Progress:
        done = sum(piece.size for piece in self.files if piece.offset in self._finished)
        if self.current and self.current.offset not in self._finished:
            done += int(self.current.size * percent / 100)
        part = self.current.index if self.current else None
        return Progress(stage, text, part, percent, done, sum(piece.size for piece in self.files))

    def _name(self) -> str:
        return self.current.part.name if self.current else "the firmware"


_STAGES = (
    ("Connecting...", "connect", "connecting"),
    ("Uploading stub", "connect", "loading the flasher stub"),
    ("Erasing flash", "erase", "erasing the whole chip"),
    ("Comparing flash", "verify", "comparing"),
    ("Verifying", "verify", "verifying"),
    ("Lost connection", "retry", "the port vanished, waiting for it"),
)
