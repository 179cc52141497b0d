"""A flash plan as plain data, for tables and for `--json`. The keys are stable."""

from __future__ import annotations

from typing import Any

from hut_ci.firmware.partitions import holding
from hut_ci.model import FlashPlan


def describe(plan: FlashPlan) -> dict[str, Any]:
    """JSON-ready: offsets and sizes are bytes, revisions are [major, minor], unknown is null."""
    return {
        "format": plan.source_format,
        "chip": plan.chip,
        "mode": plan.mode,
        "freq": plan.freq,
        "size": plan.size,
        "bytes_total": plan.bytes_total,
        "flash_needed": plan.flash_needed,
        "needs_psram": plan.needs_psram,
        "min_revision": _revision(plan.min_revision),
        "max_revision": _revision(plan.max_revision),
        "erase_all": plan.erase_all,
        "parts": [
            {
                "offset": part.offset,
                "size": part.size,
                "purpose": part.purpose,
                "partition": row.label if (row := holding(plan.partitions, part.offset)) else None,
                "name": part.name,
                "sha256": part.sha256,
            }
            for part in plan.parts
        ],
        "partitions": [
            {
                "label": row.label,
                "type": row.type,
                "subtype": row.subtype,
                "offset": row.offset,
                "size": row.size,
                "readonly": row.readonly,
            }
            for row in plan.partitions
        ],
        "apps": [
            {
                "offset": app.offset,
                "partition": app.label,
                "project": app.project,
                "version": app.version,
                "idf": app.idf,
                "compiled": app.compiled,
                "elf_sha256": app.elf_sha256,
            }
            for app in plan.apps
        ],
        "kept": list(plan.kept),
        "erased": list(plan.erased),
        "notes": list(plan.notes),
    }


def _revision(revision: tuple[int, int] | None) -> list[int] | None:
    return list(revision) if revision else None
