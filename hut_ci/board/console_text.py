"""Bytes of a console into clean lines, whatever the board sends.

The result does not depend on how the bytes were cut into chunks. What a terminal would obey (escape sequences,
control characters, direction marks) is removed, so that a log can be printed anywhere.
"""

from __future__ import annotations

import re

LINE_LIMIT = 4096
"""Bytes after which a line without an end is cut."""

_END = re.compile(rb"\r*\n|\r+")
_ANSI = re.compile(
    r"\x1b\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, links; only where it ends
    r"|\x1b[ -/]{0,8}[0-~]"  # two-character escapes
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(raw: bytes) -> str:
    """One line as text: invalid UTF-8 replaced, escape sequences and control characters removed, tabs kept."""
    text = raw.decode("utf-8", "replace")
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _ANSI.sub("", text))


class LineSplitter:
    """Cuts a stream into lines at LF, CR LF or CR, carrying an unfinished line over to the next chunk."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._pending = b""

    def feed(self, chunk: bytes) -> list[str]:
        """The clean lines that end in `chunk`; at most `limit` bytes stay pending."""
        data = self._pending + chunk
        body = data.rstrip(b"\r")
        carriage = data[len(body) :][:1]  # whether a CR ends its line is known with the byte that follows it
        *complete, rest = _END.split(body)
        lines = [clean(piece) for line in complete for piece in self._pieces(line)]
        if len(rest) > self._limit:
            *cut, rest = self._pieces(rest)
            lines += [clean(piece) for piece in cut]
        self._pending = rest + carriage
        return lines

    def _pieces(self, line: bytes) -> list[bytes]:
        return [line[at : at + self._limit] for at in range(0, len(line), self._limit)] or [b""]

    @property
    def partial(self) -> str:
        """The unfinished line, such as a prompt."""
        return clean(self._pending)

    def reset(self) -> None:
        """Forget the unfinished line."""
        self._pending = b""
