"""Sizes, chip revisions, flash offsets and instants as people and documents write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_SIZE = re.compile(r"([0-9]{1,18}) ?(?:([kmg])i?b?|b)?\Z", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_REVISION = re.compile(r"v?([0-9]{1,4})(?:\.([0-9]{1,4}))?\Z")


def parse_size(text: str | int) -> int:
    """Bytes of `4MB`, `4M`, `512KB` (powers of 1024, as flash chips are sold) or a number of bytes.

    Raises ValueError.
    """
    match = _SIZE.match(str(text).strip())
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return int(match[1]) * _FACTOR[(match[2] or "").lower()]


def format_size(size: int) -> str:
    """The shortest exact spelling: 4194304 → `4MB`, 0 → `0`."""
    for unit, factor in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def parse_revision(text: str | int | float) -> tuple[int, int]:
    """(major, minor) of `v3.1`, `3.1` or `3`. Raises ValueError."""
    match = _REVISION.match(str(text).strip())
    if match is None:
        raise ValueError(f"not a chip revision: {text!r}")
    return int(match[1]), int(match[2] or 0)


def format_revision(revision: tuple[int, int]) -> str:
    """(3, 1) → `v3.1`."""
    return f"v{revision[0]}.{revision[1]}"


def parse_offset(text: str | int) -> int:
    """Bytes of `0x10000` or a number. Raises ValueError."""
    return text if isinstance(text, int) else int(text, 0)


def utc_now() -> str:
    """This instant, to the millisecond, as every document of ours writes it: `2026-02-12T15:30:10.123Z`."""
    return _written(datetime.now(UTC))


def utc_text(text: str) -> str:
    """Another's ISO 8601 instant, with its offset, in the spelling of `utc_now`. Raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"an instant without its offset: {text!r}")
    try:
        return _written(instant.astimezone(UTC))
    except OverflowError as error:
        raise ValueError(f"no instant of this calendar: {text!r}") from error


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
