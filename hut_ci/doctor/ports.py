"""The serial ports: there, ours to open, and nobody else's. No port is opened: that would reset its board."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from hut_ci import proc
from hut_ci.board.inventory import take_inventory
from hut_ci.board.port_holder import who_holds
from hut_ci.board.serial_links import SerialLink
from hut_ci.doctor.finding import Finding, missing, ok, warn
from hut_ci.model import Slot

PROBER = "ModemManager"
IGNORE = (
    'a udev rule `SUBSYSTEM=="tty", SUBSYSTEMS=="usb", ENV{ID_MM_DEVICE_IGNORE}="1"` in /etc/udev/rules.d, '
    "or `systemctl disable --now ModemManager`"
)


def ports(slots: Sequence[Slot], links: Sequence[SerialLink]) -> list[Finding]:
    """One finding or more for each slot, then what is plugged in beside them, then who might get in between."""
    found = [finding for slot in slots for finding in _port(slot)]
    return [*found, *_beside(slots, links), *_prober()]


def _port(slot: Slot) -> Iterator[Finding]:
    local = [name for name in slot.serial if "://" not in name]
    there = [name for name in local if Path(name).exists()]
    if not local:
        yield ok(f"{slot.id}: {slot.serial[0]} (over the network; asking would take it from a run)")
    elif not there:
        yield missing(f"{slot.id}: {local[0]} is not there", "plug the board; a container or VM: pass its port through")
    for name in there:
        yield _openable(slot, name)
        yield from _held(slot, name)
        if name.startswith("/dev/tty") and not Path(name).is_symlink():
            yield warn(
                f"{slot.id}: {name} may be another board after the next plug", "use /dev/serial/by-id or by-path"
            )


def _openable(slot: Slot, name: str) -> Finding:
    if not stat.S_ISCHR(Path(name).stat().st_mode):
        return missing(f"{slot.id}: {name} is no serial port", "correct `serial:` in lab.yml")
    if os.access(name, os.R_OK | os.W_OK):
        return ok(f"{slot.id}: {name}")
    group, me = _group_of(name), proc.user_name(os.geteuid())
    return missing(f"{slot.id}: {me} may not open {name}", f"usermod -aG {group} {me}, then log in again")


def _held(slot: Slot, name: str) -> Iterator[Finding]:
    holder = who_holds(name)
    if holder and holder.program == PROBER:
        yield missing(f"{slot.id}: {PROBER} has {name} open and writes to it", IGNORE)
    elif holder:
        told = f"{holder.program or 'a program'} of {holder.user} (pid {holder.pid})"
        yield warn(f"{slot.id}: {told} has {name} open", "nothing, if that is a run; otherwise close it")


def _beside(slots: Sequence[Slot], links: Sequence[SerialLink]) -> Iterator[Finding]:
    found = take_inventory(links, slots)
    for problem in found.problems:
        if problem not in {f"{slot} is absent" for slot in found.absent}:  # said above, with its port
            yield warn(problem, "hut-ci slots inventory")
    for device in found.devices:
        if not device.slots:
            yield warn(f"{(*device.by_id, *device.by_path)[0]} belongs to no slot", "hut-ci slots add, or leave it")


def _prober() -> Iterator[Finding]:
    """It opens each new serial port and sends it modem commands."""
    pids = (int(entry.name) for entry in proc.PROC.iterdir() if entry.name.isdigit())
    if any(proc.name(pid) == PROBER for pid in pids):
        yield warn(f"{PROBER} runs here: it writes to a board's port whenever it is plugged in or powered", IGNORE)


def _group_of(name: str) -> str:
    gid = Path(name).stat().st_gid
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
