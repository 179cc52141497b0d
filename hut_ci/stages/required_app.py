"""Whether the application that booted is the one that the suite requires."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from hut_ci.model import Boot, Evidence
from hut_ci.stages.forbidden import shorten

REQUIRABLE = {"app": "partition", "version": "version", "project": "project", "elf_sha256": "elf_sha256"}
"""Keys of `suite.require`, and the field of Boot that each is compared with."""

_WHAT = {
    "app": "the application that",
    "version": "the version that",
    "project": "the project that",
    "elf_sha256": "the ELF SHA-256 that",
}


def wrong_app(require: Mapping[str, str], boot: Boot, app_name: str, *, final: bool) -> Evidence | None:
    """The first requirement that `boot` does not meet; what the board has not printed counts only when `final`.

    `app_name` is shown for an application whose partition has no known label.
    """
    for key, required in require.items():
        found = getattr(boot, REQUIRABLE[key])
        if found is None and not final:
            continue
        if found is None or not _same(key, found, required):
            shown = found or (app_name if key == "app" else "") or "not printed"
            return Evidence("wrong_app", {"what": _WHAT[key], "found": shorten(shown), "required": shorten(required)})
    return None


def not_written(written: Collection[int], boot: Boot, name_of: Callable[[int], str]) -> Evidence | None:
    """Whether an application booted that was on the chip before (a stale otadata chose it): it proves nothing.

    `written` has the offsets (bytes) of the applications in the flash plan; without any, nothing is said.
    """
    if not written or boot.app_offset is None or boot.app_offset in written:
        return None
    required = " or ".join(name_of(offset) for offset in sorted(written))
    found = f"{name_of(boot.app_offset)}, which was not flashed"
    return Evidence("wrong_app", {"what": _WHAT["app"], "found": shorten(found), "required": shorten(required)})


def _same(key: str, found: str, required: str) -> bool:
    """Boards print the first 9 or 16 hex digits of the ELF SHA-256 only."""
    if key != "elf_sha256":
        return found == required
    found, required = found.lower(), required.lower()
    return min(len(found), len(required)) >= 8 and (found.startswith(required) or required.startswith(found))
