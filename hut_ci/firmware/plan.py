"""A build → a flash plan: find its listing, read the files, check them, decide what is erased."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from hut_ci import archive
from hut_ci.errors import BrokenBuild, NotFlashable
from hut_ci.firmware import (
    erase,
    find,
    flash_args,
    flasher_args,
    layout,
    merged,
    mistaken,
    offsets,
    otadata,
    platformio,
)
from hut_ci.firmware import web_manifest as manifest
from hut_ci.firmware.image import header_chip
from hut_ci.firmware.layout import Block
from hut_ci.firmware.listing import FREQS, MODES, SIZES, Item, Listing, inside, option, read_bounded
from hut_ci.model import AppDescriptor, FlashPlan, FlashSettings, Part, Partition

HUT_YML = Path("hut.yml")
DEFAULTS = FlashSettings()


def load(
    path: Path,
    workdir: Path,
    settings: FlashSettings = DEFAULTS,
    *,
    chip: str | None = None,
    inside: str | None = None,
) -> FlashPlan:
    """A folder, an archive or a single file as a checked plan; `inside` is the folder in it that holds the build.

    `workdir` takes what has to be unpacked, split or made; it has to outlive the plan. `chip` chooses among the
    builds of a manifest and stands in where no file says it. Raises NotFlashable, BrokenBuild, ConfigError,
    ArtifactError, HostileArchive.
    """
    if not path.exists():
        raise NotFlashable(
            f"{path} does not exist",
            why="The path is mistyped, or nothing was built yet.",
            todo="Give the build folder (the one with flasher_args.json), an archive of it, or a merged image.",
        )
    if not (path.is_file() or path.is_dir()):
        raise NotFlashable(
            f"{path} is neither a file nor a folder",
            why="Reading a pipe or a device may never end.",
            todo="Give the build folder, an archive of it, or a merged image.",
        )
    try:
        root = archive.extract(path, workdir / "unpacked") if path.is_file() and archive.is_archive(path) else path
        if inside is not None:
            root = _folder_inside(root, inside)
        listing = read_listing(root, workdir, settings, chip)
        return assemble(listing, workdir, settings, chip)
    except OSError as error:
        raise NotFlashable(
            f"{path} cannot be read: {error.strerror or error}",
            why="A permission is missing, or a file vanished while it was read.",
            todo="Check the owner and mode of the files and the room on the disk.",
        ) from error


def _folder_inside(root: Path, inside: str) -> Path:
    folder = root / inside
    if folder.is_dir() and folder.resolve().is_relative_to(root.resolve()):
        return folder
    raise NotFlashable(
        f"the artifact has no folder {inside}",
        why="`artifact.path` of hut.yml names another folder than the build job uploads.",
        todo="Correct it, or leave it out: the folder that holds the build is found by itself.",
    )


def read_listing(root: Path, workdir: Path, settings: FlashSettings, chip: str | None = None) -> Listing:
    """Explicit offsets win; then the strongest format of the nearest folder. Raises NotFlashable, BrokenBuild."""
    if settings.offsets:
        return offsets.read(root, settings.offsets)
    found = find.listing_file(root) if root.is_dir() else find.of_file(root)
    if found is None:
        raise mistaken.nothing_found(root)
    name, file = found
    base = root if root.is_dir() else root.parent
    if root.is_dir():
        file = inside(root, str(file.relative_to(root)), root, file)
    match name:
        case "flasher_args.json":
            return flasher_args.read(file, base)
        case "flash_args":
            return flash_args.read(file, base)
        case "platformio":
            return platformio.read(file, base, workdir)
        case "manifest.json":
            return manifest.read(file, base, chip)
        case _:
            return merged.read(file, workdir)


def assemble(listing: Listing, workdir: Path, settings: FlashSettings, chip: str | None = None) -> FlashPlan:
    """Read and check every file of a listing. Raises as `load`."""
    items, notes = listing.items, listing.notes
    if listing.source_format != "merged":
        items, more = merged.expand(items, workdir, listing.file)
        notes += more
    files = [(item, read_bounded(item.path)) for item in items]
    table_item, table = layout.table_of(files)
    blocks = layout.classify(files, table_item, table, listing.chip or chip or _first_chip(files))
    layout.check(blocks, table)
    plan = FlashPlan(
        parts=tuple(_part(block) for block in blocks),
        chip=_chip(blocks, listing, chip),
        source_format=listing.source_format,
        mode=_setting(settings.mode, listing.mode, MODES, "flash.mode"),
        freq=_setting(settings.freq, listing.freq, FREQS, "flash.freq"),
        size=_setting(settings.size, listing.size, SIZES, "flash.size"),
        flash_needed=max([block.end for block in blocks] + [row.offset + row.size for row in table]),
        partitions=table,
        apps=_apps(blocks),
        min_revision=max((b.image.min_revision for b in blocks if b.image and any(b.image.min_revision)), default=None),
        max_revision=min((b.image.max_revision for b in blocks if b.image and b.image.max_revision), default=None),
        needs_psram=any(block.image.needs_psram for block in blocks if block.image and block.purpose == "app"),
    )
    plan = _with_policy(plan, workdir, settings.erase)
    return replace(plan, notes=(*notes, *_notes(blocks, plan)))


def _first_chip(files: list[tuple[Item, bytes]]) -> str | None:
    return next((chip for _, data in files if (chip := header_chip(data))), None)


def _part(block: Block) -> Part:
    digest = hashlib.sha256(block.data).hexdigest()
    return Part(block.item.offset, block.item.path, len(block.data), digest, block.purpose, block.item.name)


def _chip(blocks: list[Block], listing: Listing, asked: str | None) -> str:
    """The one chip that everything names. Raises BrokenBuild for a mix, NotFlashable where nothing names one."""
    named = [(block.item.name, block.image.chip) for block in blocks if block.image and block.image.chip]
    if listing.chip:
        named.insert(0, (listing.file.name, listing.chip))
    if not named and asked is None:
        raise NotFlashable(
            "nothing in this build says which chip it is for",
            why="No file of it is an ESP image, and its listing names no chip.",
            todo="Say it: `needs: {chip: esp32}` for the variant in hut.yml, or --chip.",
        )
    first = named[0] if named else ("the request", asked or "")
    for name, chip in named:
        if chip != first[1]:
            raise BrokenBuild(
                f"{name} is for {chip}, {first[0]} says {first[1]}",
                why="Files of two builds were mixed.",
                todo="Build again from clean for one target.",
            )
    return first[1]


def _setting(own: str, listed: str, allowed: frozenset[str], key: str) -> str:
    return option(own, allowed, HUT_YML, key) if own != "keep" else listed


def _apps(blocks: list[Block]) -> tuple[AppDescriptor, ...]:
    return tuple(
        replace(
            block.image.descriptor,
            offset=block.item.offset,
            label=block.partition.label if block.partition else None,
        )
        for block in blocks
        if block.purpose == "app" and block.image and block.image.descriptor
    )


def _with_policy(plan: FlashPlan, workdir: Path, policy: tuple[str, ...]) -> FlashPlan:
    """Add the parts that erase, and say what is kept. Raises ConfigError for an unknown name."""
    everything = "all" in policy
    rows = erase.wanted(policy, plan.partitions)
    ranges = [(part.offset, part.offset + part.size) for part in plan.parts]
    blank = [] if everything else [_blank(s, e, row, workdir) for row in rows for s, e in erase.gaps(row, ranges)]
    kept, gone = erase.survival(plan.partitions, ranges, rows, everything)
    parts = tuple(sorted((*plan.parts, *blank), key=lambda part: part.offset))
    return replace(plan, parts=parts, erase_all=everything, kept=kept, erased=gone)


def _blank(start: int, end: int, row: Partition, workdir: Path) -> Part:
    """A part of all-ones over (start, end): writing it is erasing it."""
    workdir.mkdir(parents=True, exist_ok=True)
    path, content = workdir / f"erase-{start:x}.bin", b"\xff" * (end - start)
    path.write_bytes(content)
    return Part(start, path, len(content), hashlib.sha256(content).hexdigest(), "erase", f"erase {row.label}")


def _notes(blocks: list[Block], plan: FlashPlan) -> list[str]:
    notes = [_boot_note(blocks, plan)] if plan.partitions else ["no partition table in the plan: sizes are not checked"]
    for block in blocks:
        name = block.item.name
        if block.purpose != "data" and layout.looks_encrypted(block.data):
            notes.append(f"{name} looks encrypted: it cannot be checked")
        elif block.image and block.image.signed:
            notes.append(f"{name} carries a Secure Boot signature; it is not checked")
        elif block.image and not block.image.hashed:
            notes.append(f"{name} carries no SHA-256; only its checksum was checked")
        if plan.partitions and block.partition is None and block.purpose in ("app", "data", "otadata"):
            notes.append(f"{name} at {block.item.offset:#x} lies in no partition")
        size = block.image.flash_size if block.image and block.purpose == "bootloader" else None
        if size and plan.size == "keep" and plan.flash_needed > size:
            notes.append(f"the bootloader is set to {size >> 20} MB of flash, the plan needs {plan.flash_needed:#x}")
    return [note for note in notes if note]


def _boot_note(blocks: list[Block], plan: FlashPlan) -> str:
    """Which application starts after the flash, as far as the build decides it."""
    if not any((row.type, row.subtype) == ("data", "ota") for row in plan.partitions):
        return ""
    block = next((block for block in blocks if block.purpose == "otadata"), None)
    if block is None and not plan.erase_all:
        return "otadata is not in the build: the board starts the application that it last chose"
    data = block.data if block else b""
    chosen = otadata.selected(data, plan.partitions)
    state = "is blank" if not data.strip(b"\xff") else "is set"
    kind = "factory app" if chosen and chosen.subtype == "factory" else "app"
    return f"otadata {state}: the {kind} {chosen.label} will boot" if chosen else "there is no application to boot"
