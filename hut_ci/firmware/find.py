"""Which file of a build says how it is flashed: where to look, in which order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hut_ci.errors import NotFlashable
from hut_ci.firmware import flash_args, flasher_args, merged, platformio, web_manifest

# strongest first; the first that a folder has is taken
FORMATS: tuple[tuple[str, Callable[[Path], Path | None]], ...] = (
    ("flasher_args.json", flasher_args.find),
    ("flash_args", flash_args.find),
    ("platformio", platformio.find),
    ("manifest.json", web_manifest.find),
)
MAX_FOLDERS = 200


def listing_file(root: Path) -> tuple[str, Path] | None:
    """(format, file) of the nearest folder that has one; a merged image counts where nothing else is found.

    Raises NotFlashable with the candidates where several folders on one level qualify.
    """
    levels = _levels(root)
    for folders in levels:
        found = [hit for folder in folders if (hit := in_folder(folder))]
        if found:
            return _only(found, root)
    for folders in levels:
        images = [file for folder in folders for file in sorted(folder.glob("*.bin")) if file.is_file()]
        whole = [("merged", file) for file in images if not file.is_symlink() and merged.is_merged(file)]
        if whole:
            return _only(whole, root)
    return None


def in_folder(folder: Path) -> tuple[str, Path] | None:
    return next(((name, file) for name, find in FORMATS if (file := find(folder))), None)


def of_file(file: Path) -> tuple[str, Path] | None:
    """The format of a single file, by name for listings and by content for images."""
    if file.name in flash_args.NAMES:
        return "flash_args", file
    if file.suffix == ".json":
        return ("flasher_args.json" if file.name == flasher_args.NAME else "manifest.json"), file
    return ("merged", file) if merged.is_merged(file) else None


def _levels(root: Path) -> list[list[Path]]:
    """The folder, its build/, then one level below (PlatformIO's environments and nested builds included)."""
    children = [path for path in sorted(root.iterdir()) if _is_folder(path) and not path.name.startswith(".")]
    nested = [folder for child in children for folder in (child, child / "build")]
    pio = root / ".pio" / "build"
    environments = sorted(pio.iterdir()) if _is_folder(pio) else []
    return [
        [root],
        [folder for folder in (root / "build",) if _is_folder(folder)],
        [folder for folder in (*environments, *nested) if _is_folder(folder)][:MAX_FOLDERS],
    ]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _only(found: list[tuple[str, Path]], root: Path) -> tuple[str, Path]:
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(file.relative_to(root)) for _, file in found[:12])
    raise NotFlashable(
        f"{len(found)} builds are in {root.name}: {names}",
        why="Only one of them can be flashed, and nothing says which.",
        todo="Name one: the folder on the command line, or `artifact: {path: …}` of the variant in hut.yml.",
    )
