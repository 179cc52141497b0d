"""What of a board's settings survives the flash: the policy of hut.yml, applied to the partition table."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from hut_ci.errors import ConfigError
from hut_ci.firmware.partitions import SECTOR
from hut_ci.model import Partition

Range = tuple[int, int]


def wanted(policy: tuple[str, ...], table: tuple[Partition, ...]) -> tuple[Partition, ...]:
    """The partitions that the policy names. Raises ConfigError for a name that the table does not have."""
    names = [name for name in policy if name not in ("keep", "all")]
    rows = {row.label: row for row in table}
    for name in names:
        if name not in rows:
            near = get_close_matches(name, [*rows, "keep", "all"], 1)
            raise ConfigError(
                f"flash.erase names {name}, which is not in the partition table of this build",
                why=f"It has: {', '.join(rows) or 'no partition table, so nothing can be erased by name'}.",
                todo=f"Did you mean {near[0]}?" if near else "Use one of these names, or `keep` or `all`.",
            )
    return tuple(rows[name] for name in names)


def gaps(row: Partition, parts: Iterable[Range]) -> list[Range]:
    """(start, end) of what remains of a partition once the parts, in whole sectors, are taken out of it."""
    found, at = [], row.offset
    for start, end in sorted(parts):
        if start >= row.offset + row.size or end <= row.offset:
            continue
        if start > at:
            found.append((at, start))
        at = max(at, -(-end // SECTOR) * SECTOR)
    if at < row.offset + row.size:
        found.append((at, row.offset + row.size))
    return found


def survival(
    table: tuple[Partition, ...], parts: Iterable[Range], erased: tuple[Partition, ...], everything: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(kept, erased) labels of the data partitions.

    A data partition that a part overwrites loses what was in it and counts as erased; otadata is left out, because
    it holds the choice of the application and no settings.
    """
    ranges = list(parts)
    rows = [row for row in table if row.type == "data"]
    hit = {
        row.label for row in rows if any(start < row.offset + row.size and end > row.offset for start, end in ranges)
    }
    named = {row.label for row in erased}
    gone = tuple(
        row.label for row in rows if row.label in named or (row.subtype != "ota" and (everything or row.label in hit))
    )
    kept = () if everything else tuple(row.label for row in rows if row.label not in hit | named)
    return kept, gone
