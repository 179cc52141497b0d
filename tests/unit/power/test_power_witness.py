"""What a board's side proves: banners that nobody asked for, ports that vanish."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hut_ci.deadline import Deadline
from hut_ci.power.witness import BannerWitness, NoWitness, PortWitness

ROM = b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"


@dataclass
class Line:
    """Gives one chunk for each read; waits out the deadline for an empty one, on its own clock."""

    chunks: list[bytes]
    now: float = 0.0
    opened: int = 0
    closed: int = 0
    asked: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def read(self, deadline: Deadline) -> bytes:
        chunk = self.chunks.pop(0) if self.chunks else b""
        self.now += deadline.remaining if not chunk else 0.01
        return chunk

    @contextmanager
    def open(self) -> Iterator[Line]:
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1


def within(line: Line, seconds: float) -> Deadline:
    return Deadline(seconds, line.clock)


@pytest.mark.parametrize(
    ("chunks", "proven"),
    [
        ([ROM], True),
        ([ROM[:40], ROM[40:]], True),
        ([b"\xff\x00garbage", ROM], True),
        ([b"ESP-ROM:esp32s3-20210327\r\nrst:0x1 (POWERON),boot:0x8\r\n"], True),
        ([b"x" * 5000, ROM], True),
        ([], False),
        ([b"I (123) app: alive\r\n"] * 10, False),
        ([ROM.replace(b"0x1 (POWERON_RESET)", b"0xc (SW_CPU_RESET)")], False),
        ([ROM.replace(b"0x1 (POWERON_RESET)", b"0x10 (RTCWDT_RTC_RESET)")], False),
        ([ROM.replace(b"0x1 (POWERON_RESET)", b"0xf (BROWNOUT_RESET)")], False),
    ],
)
def test_only_a_power_on_banner_proves(chunks: list[bytes], proven: bool) -> None:
    """A watchdog's or a panic's reboot is no power cycle, although it prints a banner."""
    line = Line(list(chunks))
    with BannerWitness(line.open) as witness:
        assert witness.back(within(line, 3.0)) is proven
    assert (line.opened, line.closed) == (1, 1)


@pytest.mark.parametrize(("chunks", "silent"), [([], True), ([b"last words"], True), ([b"spam"] * 1000, False)])
def test_power_goes_with_the_last_word(chunks: list[bytes], silent: bool) -> None:
    line = Line(list(chunks))
    with BannerWitness(line.open) as witness:
        assert witness.gone(within(line, 2.0)) is silent


def test_a_sound_while_off_is_a_sign_of_life() -> None:
    line = Line([b"", b"tick"])
    with BannerWitness(line.open) as witness:
        assert witness.gone(within(line, 2.0))
        assert not witness.still_gone()
        assert witness.still_gone()


def test_a_device_node(tmp_path: Path) -> None:
    """Any of a slot's names counts: a native-USB chip has two."""
    first, second = tmp_path / "rom", tmp_path / "app"
    with PortWitness((str(first), str(second))) as witness:
        assert witness.still_gone()
        assert not witness.back(Deadline(0.0))
        second.touch()
        assert witness.back(Deadline(0.0))
        assert not witness.gone(Deadline(0.05))
        second.unlink()
        assert witness.gone(Deadline(0.0))


def test_a_remote_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"rfc2217://127.0.0.1:{server.getsockname()[1]}?ign_set_control"
        assert PortWitness((address,)).back(Deadline(0.0))
    assert PortWitness((address,)).gone(Deadline(0.0))


def test_no_witness_proves_nothing() -> None:
    with NoWitness() as witness:
        assert witness.gone(Deadline(0.0))
        assert witness.back(Deadline(0.0))
    assert not witness.proves
