"""A serial log on disk: the raw bytes as they came, and a text beside them with a time per line."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from hut_ci.board.console_text import LineSplitter

RAW_NAME = "serial.raw"
TEXT_NAME = "serial.txt"


class BoundedLog:
    """A file that never grows beyond `limit` bytes: its first half and its last half are kept.

    Every write goes straight to the system, so that a killed process leaves what it had. The second half is a ring
    until `close` puts it in order behind a marker that says how many bytes were left out.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self._file = path.open("w+b", buffering=0)
        self._head = max(1, limit // 2)
        self._tail = max(1, limit - self._head - 64)  # 64 bytes for the marker
        self._total = 0

    def write(self, data: bytes) -> None:
        room = self._head - self._total
        if room > 0:
            self._put(self._total, data[:room])
            self._total += min(room, len(data))
            data = data[room:]
        if len(data) > self._tail:
            self._total += len(data) - self._tail
            data = data[-self._tail :]
        while data:
            at = (self._total - self._head) % self._tail
            piece = data[: self._tail - at]
            self._put(self._head + at, piece)
            self._total += len(piece)
            data = data[len(piece) :]

    @property
    def left_out(self) -> int:
        """Bytes between the two halves that are not in the file."""
        return max(0, self._total - self._head - self._tail)

    def _put(self, offset: int, data: bytes) -> None:
        while data:
            written = os.pwrite(self._file.fileno(), data, offset)
            offset, data = offset + written, data[written:]

    def close(self) -> None:
        if self._file.closed:
            return
        if self.left_out:
            ring = os.pread(self._file.fileno(), self._tail, self._head)
            start = (self._total - self._head) % self._tail
            marker = f"\n--- {self.left_out} bytes left out ---\n".encode()
            self._put(self._head, marker + ring[start:] + ring[:start])
        self._file.close()


class Capture:
    """Writes what a board sends to `folder` and hands back its lines; a context manager.

    `serial.raw` gets the bytes before anything decodes them, `serial.txt` gets `   1.234 line`: seconds since the
    reset, which are negative before it. Each file is bounded by `limit` bytes.
    """

    def __init__(self, folder: Path, limit: int = 8 << 20) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._raw = BoundedLog(folder / RAW_NAME, limit)
        try:
            self._text = BoundedLog(folder / TEXT_NAME, limit)
        except OSError:
            self._raw.close()
            raise
        self._splitter = LineSplitter()
        self._last = 0.0

    @property
    def text_path(self) -> Path:
        return self._text.path

    @property
    def partial(self) -> str:
        """The line that has no end yet."""
        return self._splitter.partial

    def feed(self, chunk: bytes, at: float) -> list[str]:
        """Keep `chunk`, which came `at` seconds after the reset; the lines that it completes."""
        self._raw.write(chunk)
        self._last = at
        lines = self._splitter.feed(chunk)
        if lines:
            self._text.write("".join(f"{at:8.3f} {line}\n" for line in lines).encode())
        return lines

    def cut(self) -> str:
        """End the unfinished line here, as a reset does; its text."""
        partial = self._splitter.partial
        if partial:
            self._text.write(f"{self._last:8.3f} {partial}\n".encode())
        self._splitter.reset()
        return partial

    def close(self) -> None:
        self.cut()
        self._raw.close()
        self._text.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
