"""Finding the board that somebody means: real links in a folder, plugged and unplugged by the test's own clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hut_ci.board.plugging import find_device
from hut_ci.board.serial_links import Found, SerialLink, dangling, devices, serial_links
from hut_ci.deadline import Deadline
from hut_ci.errors import SlotError, UsageError

CP2102N = "usb-Silicon_Labs_CP2102N_USB_to_UART_Bridge_8ea5-if00-port0"
CP2102 = "usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0"
CH340 = "usb-1a86_USB_Serial-if00-port0"


class Desk:
    """A folder with udev's links, and a clock that moves when somebody pauses; `later` acts at given seconds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.told: list[str] = []

    def plug(self, tty: str, by_id: str | None, port: int) -> None:
        (self.root / tty).touch()
        for kind, name in (("by-id", by_id), ("by-path", f"pci-0-usb-0:{port}:1.0-port0")):
            if name:
                link = self.root / kind / name
                link.parent.mkdir(exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(f"../{tty}")

    def unplug(self, tty: str) -> None:
        (self.root / tty).unlink()
        for link in self.root.glob("by-*/*"):
            if not link.exists():
                link.unlink()

    def pause(self, seconds: float) -> None:
        self.now += seconds
        for moment, act in [entry for entry in self.later if entry[0] <= self.now]:
            self.later.remove((moment, act))
            act()

    def find(self, taken: tuple[str, ...] = (), *, may_ask: bool = True) -> Found:
        deadline = Deadline(30.0, clock=lambda: self.now)
        return find_device(
            lambda: serial_links(self.root, Path.exists),
            taken,
            self.told.append,
            deadline=deadline,
            may_ask=may_ask,
            pause=self.pause,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_only_board(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    found = desk.find()
    assert Path(found.identity).name == CP2102N
    assert not found.twin
    assert desk.told == []


def test_boards_of_other_slots_do_not_count(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    desk.plug("ttyUSB1", CP2102N.replace("8ea5", "91cc"), 2)
    taken = str(desk.root / "by-path/pci-0-usb-0:1:1.0-port0")
    assert desk.find((taken,)).device.endswith("ttyUSB1")


def test_waits_for_a_board(desk: Desk) -> None:
    desk.later = [(3.0, lambda: desk.plug("ttyUSB0", CP2102N, 1))]
    assert desk.find().device.endswith("ttyUSB0")
    assert "Plug one in" in desk.told[0]


def test_the_one_that_is_plugged_again_even_as_another_tty(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    desk.plug("ttyUSB1", CP2102N.replace("8ea5", "91cc"), 2)
    desk.later = [
        (2.0, lambda: desk.unplug("ttyUSB1")),
        (4.0, lambda: desk.plug("ttyUSB7", CP2102N.replace("8ea5", "91cc"), 2)),
    ]
    found = desk.find()
    assert found.device.endswith("ttyUSB7")
    assert "91cc" in found.identity
    assert any("gone" in line for line in desk.told)


@pytest.mark.parametrize("name", [CP2102, CH340])
def test_twins_share_a_by_id_link_and_are_told_apart_by_path(desk: Desk, name: str) -> None:
    desk.plug("ttyUSB0", name, 1)
    desk.plug("ttyUSB1", name, 2)  # udev lets the link lead to whichever came last
    desk.later = [(2.0, lambda: desk.unplug("ttyUSB0")), (4.0, lambda: desk.plug("ttyUSB0", name, 1))]
    found = desk.find()
    assert found.twin
    assert found.identity.endswith("by-path/pci-0-usb-0:1:1.0-port0")


def test_plugged_into_another_socket(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    desk.plug("ttyUSB1", CP2102N.replace("8ea5", "91cc"), 2)
    desk.later = [(2.0, lambda: desk.unplug("ttyUSB0")), (4.0, lambda: desk.plug("ttyUSB5", CP2102N, 9))]
    assert desk.find().device.endswith("ttyUSB5")


def test_nobody_is_there_to_plug(desk: Desk) -> None:
    with pytest.raises(SlotError, match="no free serial device"):
        desk.find(may_ask=False)
    desk.plug("ttyUSB0", CP2102N, 1)
    desk.plug("ttyUSB1", CP2102N.replace("8ea5", "91cc"), 2)
    with pytest.raises(UsageError, match="2 boards are free") as refused:
        desk.find(may_ask=False)
    assert CP2102N in refused.value.todo


def test_the_wait_ends_and_names_dangling_links(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    (desk.root / "ttyUSB0").unlink()
    with pytest.raises(SlotError) as refused:
        desk.find()
    assert refused.value.evidence == "slot_absent"
    assert f"{CP2102N} leads nowhere" in refused.value.why
    assert desk.now >= 30.0


def test_links_of_a_machine(desk: Desk) -> None:
    desk.plug("ttyUSB0", CP2102N, 1)
    links = serial_links(desk.root, Path.exists)
    assert [link.kind for link in links] == ["by-id", "by-path"]
    assert len(devices(links)) == 1
    assert dangling(links) == ()
    assert serial_links(desk.root / "absent") == ()


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        (CP2102, True),
        (CH340, True),
        ("usb-1a86_USB2.0-Ser_-if00-port0", True),
        ("usb-1a86_USB2.0-Serial-if00-port0", True),
        (CP2102N, False),
        ("usb-1a86_USB_Single_Serial_5643012345-if00", False),
        ("usb-Espressif_USB_JTAG_serial_debug_unit_F4:12:FA:00:00:01-if00", False),
        ("usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0", False),
    ],
)
def test_factory_names(name: str, twin: bool) -> None:
    assert Found("/dev/ttyUSB0", (SerialLink(f"/dev/serial/by-id/{name}", "by-id", "/dev/ttyUSB0"),)).twin is twin
