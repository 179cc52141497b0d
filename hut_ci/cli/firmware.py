"""`hut-ci firmware`: look at a build before any board is touched."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hut_ci.model import FlashSettings

CI_WIDTH = 160  # characters; a log file has no width of its own


@click.group("firmware")
def command() -> None:
    """Look at a build: what would be written where.

    \b
    Example:
      hut-ci firmware inspect build/
    """


@command.command("inspect", short_help="Show the flash plan of a folder, an archive or a file.")
@click.argument("path", type=click.Path(path_type=Path), envvar="HUT_CI_FIRMWARE_INSPECT_PATH")
@click.option(
    "--hut", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="hut.yml with flash settings."
)
@click.option("--chip", help="Which build of a manifest to take, and the chip where no file says it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON with stable keys.")
def inspect(path: Path, hut: Path | None, chip: str | None, as_json: bool) -> None:
    """Show the flash plan of PATH: a build folder, an archive or a single file.

    \b
    Examples:
      hut-ci firmware inspect build/
      hut-ci firmware inspect firmware.zip --json
    """
    from hut_ci.cli.json_answers import give
    from hut_ci.errors import UsageError
    from hut_ci.firmware import describe, load
    from hut_ci.firmware.chips import CHIPS, chip_name

    name = chip_name(chip) if chip else None
    if chip and name is None:
        raise UsageError(f"{chip} is not a chip that is known here", todo=f"Known are {', '.join(CHIPS)}.")
    with TemporaryDirectory(prefix="hut-ci-") as workdir:
        plan = load(path, Path(workdir), _settings(hut), chip=name)
    facts = describe(plan)
    if as_json:
        give(facts)
    else:
        _table(facts)


def _settings(hut: Path | None) -> FlashSettings:
    from hut_ci.model import FlashSettings

    if hut is None:
        return FlashSettings()
    from hut_ci.config import load_project

    return load_project(hut).flash


def _table(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=CI_WIDTH)
    console.print(Text(_headline(facts)), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    columns = _columns(facts["parts"], console.width)
    for title in columns:
        table.add_column(title, overflow="fold", justify="right" if title == "size" else "left")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    console.print(table)
    for line in _lines(facts):
        console.print(Text(line), soft_wrap=True)


def _columns(parts: list[dict[str, Any]], width: int) -> dict[str, list[str]]:
    """Title → cells; on a narrow terminal without those that a person misses least."""
    columns = {
        "offset": [hex(part["offset"]) for part in parts],
        "size": [str(part["size"]) for part in parts],
        "purpose": [part["purpose"] for part in parts],
        "partition": [part["partition"] or "-" for part in parts],
        "file": [part["name"] for part in parts],
        "sha256": [part["sha256"][:12] for part in parts],
    }
    for least in ("sha256", "partition", "size"):
        if sum(max(map(len, (title, *cells))) + 2 for title, cells in columns.items()) > width:
            del columns[least]
    return columns


def _headline(facts: dict[str, Any]) -> str:
    from hut_ci.units import format_size

    low, high = facts["min_revision"], facts["max_revision"]
    words = [f"{facts['format']} for {facts['chip']}", f"needs {format_size(facts['flash_needed'])} of flash"]
    if low:
        words.append(f"chip revision v{low[0]}.{low[1]} or newer")
    if high:
        words.append(f"up to v{high[0]}.{high[1]}")
    if facts["needs_psram"]:
        words.append("PSRAM")
    return ", ".join(words)


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [
        f"app {app['partition'] or hex(app['offset'])}: {app['project']} {app['version']}, ESP-IDF {app['idf']},"
        f" built {app['compiled']}, ELF {(app['elf_sha256'] or 'unknown')[:12]}"
        for app in facts["apps"]
    ]
    lines.append(
        "the whole flash is erased first" if facts["erase_all"] else f"kept: {', '.join(facts['kept']) or '-'}"
    )
    lines.append(f"erased: {', '.join(facts['erased']) or '-'}")
    return lines + [f"note: {note}" for note in facts["notes"]]
