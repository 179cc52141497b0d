"""`hut-ci virtual-lab`: keep a lab of virtual boards running until Ctrl-C."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 100


@click.command("virtual-lab")
@click.option("--slots", default=2, type=click.IntRange(1, 99), help="How many boards. Default: 2.")
@click.option("--fault", "faults", multiple=True, metavar="SLOT=FAULT", help="For example hut-01=silent:1; repeatable.")
@click.option("--relay-fault", "relay_faults", multiple=True, metavar="FAULT", help="For example slow; repeatable.")
@click.option("--transport", default="rfc2217", type=click.Choice(["rfc2217", "pty"]), help="Default: rfc2217.")
@click.option(
    "--power-wiring",
    default="with_board",
    type=click.Choice(["with_board", "self_powered"]),
    help="Whether the serial port loses its power with the board. Default: with_board.",
)
@click.option("--chip", default="esp32", help="Chip of all boards. Default: esp32.")
@click.option("--pace", is_flag=True, help="Transfers and erases take as long as on real hardware.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where lab.yml goes (else temporary).")
@click.option("--list-faults", is_flag=True, help="Show every fault and end.")
def command(
    slots: int,
    faults: tuple[str, ...],
    relay_faults: tuple[str, ...],
    transport: Literal["rfc2217", "pty"],
    power_wiring: Literal["with_board", "self_powered"],
    chip: str,
    pace: bool,
    folder: Path | None,
    list_faults: bool,
) -> None:
    """Keep virtual boards running to try builds and lab failures on, until Ctrl-C.

    A build is flashed byte for byte and boots as far as `app_main`; its code is not executed. The
    demo build that lies beside lab.yml plays a short script.

    \b
    Examples:
      hut-ci virtual-lab --slots 2
      hut-ci virtual-lab --fault hut-01=panic --fault hut-02=needs_power_cycle
      hut-ci virtual-lab --relay-fault slow --list-faults
    """
    if list_faults:
        click.echo(_all_faults())
        return
    from hut_ci.cancellation import cancellation
    from hut_ci.errors import Cancelled
    from hut_ci.virtual.images import build_folder
    from hut_ci.virtual.lab import VirtualLab

    with ExitStack() as stack:
        stack.enter_context(suppress(Cancelled))  # the way in which this command is meant to end
        stack.enter_context(cancellation())
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hut-ci-lab-")))
        lab = VirtualLab(
            slots,
            folder=folder,
            faults=_by_slot(faults),
            relay_faults=relay_faults,
            transport=transport,
            power_wiring=power_wiring,
            chips=chip,
            pace=pace,
            erase_times=pace,
        )
        with lab:
            build_folder(folder / "build", chip=chip)
            click.echo(_introduction(lab.lab_yml, folder / "build"))
            threading.Event().wait()


def _by_slot(faults: Iterable[str]) -> dict[str, list[str]]:
    from hut_ci.errors import UsageError

    found: dict[str, list[str]] = {}
    for fault in faults:
        slot_id, equals, name = fault.partition("=")
        if not equals or not name:
            raise UsageError(f"{fault!r} names no slot", todo="write for example --fault hut-01=silent:1")
        found.setdefault(slot_id, []).append(name)
    return found


def _introduction(lab_yml: Path, build: Path) -> str:
    return f"""# {lab_yml}
{lab_yml.read_text(encoding="utf-8")}
# Try, in another terminal:
#   export HUT_CI_LAB={lab_yml}
#   hut-ci slots status
#   hut-ci run {build}      (a demo; or a build of your own)
#   hut-ci power cycle hut-01
# Ctrl-C ends the lab."""


def _all_faults() -> str:
    from hut_ci.virtual.faults import describe_faults
    from hut_ci.virtual.relay import FAULTS

    boards = [line.partition(" ")[::2] for line in describe_faults().splitlines()]
    return (
        f"Boards (--fault SLOT=NAME[@OFFSET][=VALUE][:COUNT]):\n{_wrapped(boards)}\n\n"
        f"Relay (--relay-fault NAME[:COUNT]; a count is so many requests):\n{_wrapped(FAULTS.items())}"
    )


def _wrapped(rows: Iterable[tuple[str, str]]) -> str:
    from textwrap import fill

    known = list(rows)
    column = max(len(name) for name, _ in known) + 2
    return "\n".join(
        fill(name.ljust(column) + text.strip(), WIDTH, subsequent_indent=" " * column) for name, text in known
    )
