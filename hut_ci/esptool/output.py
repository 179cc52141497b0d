"""What esptool's text says when it has ended: who the board is, what was written, and why it failed.

Pure functions on the text of one call (esptool 5.6; stdout and stderr as one stream, no colours, no terminal).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hut_ci.esptool.error_table import ROWS, Row
from hut_ci.model import Board, Evidence

TRANSFER_ERRORS = frozenset({"link_error", "verify_failed"})
"""Evidence after which another write call may succeed; everything else stays as it is without a reset or a person."""

_FIELD = r"^{}: +(.+?)\s*$"
_WROTE = re.compile(r"^Wrote (\d+) bytes ", re.M)
_FLASH_MD5 = re.compile(r"^Flash MD5: ([0-9a-f]{32})", re.M)
_UNITS = {"KB": 1 << 10, "MB": 1 << 20}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call failed: evidence with its likely cause (`likely`) and remedy (`todo`), and the row that says so."""

    evidence: Evidence
    row: str


def chip_id(name: str) -> str:
    """Our spelling of a chip: `ESP32-S3` → `esp32s3`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def size_bytes(text: str) -> int | None:
    """`4MB` → 4194304; None where it is no size."""
    found = re.search(r"(\d+)\s*(KB|MB)\b", text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def board(text: str) -> Board | None:
    """The board that a `flash-id` call describes; None where the text stops before the chip is known.

    PSRAM is known only where it is in the chip's own package: a module's separate chip shows in no fuse.
    """
    connected = re.search(r"^Connected to (\S+) on ", text, re.M)
    if connected is None:
        return None
    description = _value(text, "Chip type") or connected[1]
    revision = re.search(r"revision v(\d+)\.(\d+)", description)
    psram = re.search(r"Embedded PSRAM[^,\n]*", _value(text, "Features") or "")
    mac = _value(text, "BASE MAC") or _value(text, "MAC")  # chips with a 64-bit MAC print both
    return Board(
        chip=chip_id(connected[1]),
        mac=mac.lower() if mac else None,
        revision=(int(revision[1]), int(revision[2])) if revision else None,
        flash=size_bytes(_value(text, "(?:Auto-d|D)etected flash size") or ""),
        psram=size_bytes(psram[0]) if psram else None,
        description=description,
    )


def _value(text: str, name: str) -> str | None:
    found = re.search(_FIELD.format(name), text, re.M)
    return found[1] if found else None


def written(text: str) -> int:
    """Bytes that a `write-flash` call sent to the chip, counted before compression."""
    return sum(int(found[1]) for found in _WROTE.finditer(text))


def flash_md5(text: str) -> str | None:
    """The hash of what is on the chip after a failed verification (32 hex digits)."""
    found = _FLASH_MD5.search(text)
    return found[1] if found else None


def failure(text: str, *, port: str, baud: int) -> Failure:
    """Classify the text of a call that did not succeed; the last row of the table takes what nobody knows."""
    for row in ROWS:
        if found := re.search(row.pattern, text):
            return _failure(row, found, port, baud)
    unknown = Row(
        "nothing", "", "flash_failed", "esptool ended without saying why", "it was killed", "read esptool.log"
    )
    return _failure(unknown, None, port, baud)


def _failure(row: Row, found: re.Match[str] | None, port: str, baud: int) -> Failure:
    groups = ["", *(_plain(group or "") for group in found.groups())] if found else []
    reason = row.reason.format(*groups)
    every_field = {
        "reason": reason,
        "what": reason,
        "baud": str(baud),
        "port": port,
        "program": "unknown",
        "pid": "unknown",
        "found": chip_id(groups[1]) if row.evidence == "wrong_chip" else "",
        "wanted": chip_id(groups[2]) if row.evidence == "wrong_chip" else "",
    }
    fields = {name: every_field[name] for name in FIELDS[row.evidence]}
    advice = {"likely": row.cause, "todo": row.remedy}
    return Failure(Evidence(row.evidence, {**fields, **advice}), row.name)


FIELDS: dict[str, tuple[str, ...]] = {
    "port_gone": ("reason",),
    "port_held": ("port", "program", "pid"),
    "config": ("what",),
    "does_not_fit": ("what",),
    "wrong_chip": ("found", "wanted"),
    "no_sync": ("reason",),
    "not_in_loader": ("reason",),
    "link_error": ("reason", "baud"),
    "verify_failed": ("reason",),
    "flash_chip_error": ("reason",),
    "flash_failed": ("reason",),
}
"""The fields that the sentence of each evidence row needs, for the rows that a text can lead to."""


def _plain(text: str) -> str:
    """Printable ASCII, at most 120 characters: a reason ends in status texts."""
    return re.sub(r"[^ -~]+", " ", text).strip()[:120]
