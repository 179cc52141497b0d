"""Lines of a boot log with their times, and how they are played back."""

from __future__ import annotations

from collections.abc import Iterator

from hut_ci.virtual.app_script import Delay, Out, Step

_COLOUR_OF = {"E": "31", "W": "33", "I": "32"}
_SHORTEST_PAUSE_SECONDS = 0.002


class BootLog:
    """Collects lines on the chip's own clock (`ms` since reset). `colours`: as ESP-IDF's default configuration."""

    def __init__(self) -> None:
        self.ms = 1
        self.colours = False
        self._entries: list[tuple[int, bytes]] = []

    def raw(self, text: str, ms: int = 1) -> None:
        """A line without level and tag; the clock goes on by `ms` afterwards."""
        self._entries.append((self.ms, text.encode() + b"\r\n"))
        self.ms += ms

    def idf(self, level: str, tag: str, text: str, ms: int = 5) -> None:
        """A line of ESP-IDF's logger."""
        self.raw(self.idf_line(level, tag, text, self.ms), ms)

    def idf_line(self, level: str, tag: str, text: str, at: int) -> str:
        plain = f"{level} ({at}) {tag}: {text}"
        return f"\x1b[0;{_COLOUR_OF[level]}m{plain}\x1b[0m" if self.colours else plain

    @property
    def last(self) -> str:
        return self._entries[-1][1].decode(errors="replace").strip() if self._entries else ""

    @property
    def text(self) -> str:
        return b"".join(data for _, data in self._entries).decode(errors="replace")

    def steps(self, seconds: float) -> Iterator[Step]:
        """The log stretched or squeezed into `seconds`; what falls together goes out together."""
        scale = seconds / self.ms
        played, pending = 0.0, b""
        for ms, data in self._entries:
            if ms * scale - played >= _SHORTEST_PAUSE_SECONDS:
                if pending:
                    yield Out(pending)
                yield Delay(ms * scale - played)
                played, pending = ms * scale, b""
            pending += data
        yield Out(pending)
        if seconds > played:
            yield Delay(seconds - played)
