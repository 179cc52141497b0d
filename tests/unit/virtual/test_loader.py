"""The loader's answers, byte by byte: no port, no time."""

from __future__ import annotations

import struct
import zlib
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.virtual import slip
from hut_ci.virtual.chips import ESP32, ESP32C3, ESP32S3, ChipFacts, ResetReason, mac_crc, parse_mac
from hut_ci.virtual.loader import Loader
from hut_ci.virtual.loader_protocol import (
    SYNC_PATTERN,
    Action,
    AwaitFlash,
    Leave,
    OccupyFlash,
    Op,
    Send,
    SetBaud,
    checksum,
)
from hut_ci.virtual.nor_flash import NorFlash

MAC = parse_mac("24:6f:28:00:00:01")


def rom(chip: ChipFacts = ESP32) -> Loader:
    return Loader(chip, MAC, chip.default_revision, NorFlash(4 << 20))


def stub() -> Loader:
    session = rom()
    ask(session, Op.MEM_END, struct.pack("<II", 0, 0x400A902C))
    assert session.stub
    return session


def act(session: Loader, op: int, body: bytes = b"", check: int = 0) -> list[Action]:
    return list(session.receive(slip.encode(struct.pack("<BBHI", 0, op, len(body), check) + body)))


def ask(session: Loader, op: int, body: bytes = b"", check: int = 0) -> list[bytes]:
    """The frames that come back."""
    sent = b"".join(action.data for action in act(session, op, body, check) if isinstance(action, Send))
    return slip.SlipDecoder().feed(sent)


def block(data: bytes, sequence: int = 0) -> tuple[bytes, int]:
    return struct.pack("<IIII", len(data), sequence, 0, 0) + data, checksum(data)


def read_register(session: Loader, address: int) -> int:
    (answer,) = ask(session, Op.READ_REG, struct.pack("<I", address))
    return int.from_bytes(answer[4:8], "little")


@given(st.binary(max_size=300))
def test_checksum_is_the_xor_of_all_bytes(data: bytes) -> None:
    assert checksum(data) == reduce(int.__xor__, data, 0xEF)


def test_sync_is_answered_eight_times_and_tells_rom_from_stub() -> None:
    from_rom, from_stub = ask(rom(), Op.SYNC, SYNC_PATTERN), ask(stub(), Op.SYNC, SYNC_PATTERN)
    assert len(from_rom) == len(from_stub) == 8
    assert {frame[4:8] != bytes(4) for frame in from_rom} == {True}
    assert {frame[4:8] for frame in from_stub} == {bytes(4)}
    assert (len(from_rom[0]), len(from_stub[0])) == (12, 10)  # four and two status bytes


def test_a_started_stub_says_so() -> None:
    assert ask(rom(), Op.MEM_END, struct.pack("<II", 0, 1))[-1] == b"OHAI"
    assert len(ask(rom(), Op.MEM_END, struct.pack("<II", 1, 0))) == 1


def test_mac_and_revision_lie_in_the_efuses() -> None:
    session = rom()
    assert read_register(session, 0x3FF5A004) == 0x28000001
    assert read_register(session, 0x3FF5A008) == mac_crc(MAC) << 16 | 0x246F
    assert read_register(session, 0x3FF5A00C) >> 15 & 1
    assert read_register(session, 0x3FF5A014) >> 20 & 1
    assert read_register(session, 0x3FF6607C) >> 31 == 1
    assert read_register(session, 0x3FF5A014) >> 24 & 3 == 1


def test_the_crc_of_a_known_mac() -> None:
    """24:0a:c4:00:00:00 and others: CRC-8 of Dallas/Maxim, whose check value is 0xA1."""
    assert mac_crc(b"123456789") == 0xA1


@pytest.mark.parametrize(("chip", "chip_id"), [(ESP32S3, 9), (ESP32C3, 5)])
def test_security_info_names_newer_chips(chip: ChipFacts, chip_id: int) -> None:
    (answer,) = ask(rom(chip), Op.GET_SECURITY_INFO)
    assert struct.unpack_from("<I", answer, 8 + 12) == (chip_id,)
    assert len(answer) == 8 + 20 + 4


def test_the_esp32_rom_does_not_know_security_info() -> None:
    answers = ask(rom(), Op.GET_SECURITY_INFO)
    assert len(answers) == 8
    assert answers[0][8:] == b"\x01\x05\0\0"
    assert ask(stub(), Op.GET_SECURITY_INFO)[0][8:] == b"\xff\0"


def test_the_new_rate_counts_after_the_answer() -> None:
    actions = act(rom(), Op.CHANGE_BAUDRATE, struct.pack("<II", 921600, 0))
    assert isinstance(actions[0], Send)
    assert actions[1] == SetBaud(921600)


def test_compressed_write_and_digests() -> None:
    session, data = stub(), bytes(range(256)) * 40
    packed = zlib.compress(data)
    ask(session, Op.FLASH_DEFL_BEGIN, struct.pack("<IIIII", len(data), 1, 0x4000, 0x10000, 0))
    assert ask(session, Op.FLASH_DEFL_DATA, *block(packed))[0][8:] == b"\0\0"
    assert ask(session, Op.FLASH_DEFL_END, struct.pack("<I", 1))[0][8:] == b"\0\0"
    raw = ask(session, Op.SPI_FLASH_MD5, struct.pack("<IIII", 0x10000, len(data), 0, 0))[0][8:-2]
    ask(session, Op.FLASH_END, struct.pack("<I", 0))
    text = ask(session, Op.SPI_FLASH_MD5, struct.pack("<IIII", 0x10000, len(data), 0, 0))[0][8:-4]
    assert raw.hex().encode() == text


def test_a_write_leaves_what_lies_behind_it() -> None:
    flash = NorFlash(1 << 20)
    flash.program(0, bytes(0x20000))
    session = Loader(ESP32, MAC, (3, 1), flash)
    session.stub = True
    ask(session, Op.FLASH_BEGIN, struct.pack("<IIIII", 0x8000, 2, 0x4000, 0, 0))
    ask(session, Op.FLASH_DATA, *block(b"\x5a" * 0x4000))
    assert flash.read(0, 0x4001) == b"\x5a" * 0x4000 + b"\0"  # the second half is not erased before its data is there


@pytest.mark.parametrize(("make", "status"), [(rom, b"\x01\x07\0\0"), (stub, b"\xc1\0")])
def test_a_wrong_checksum_is_refused(make: object, status: bytes) -> None:
    session = make()  # type: ignore[operator]  # rom or stub
    ask(session, Op.FLASH_BEGIN, struct.pack("<IIII", 0x400, 1, 0x400, 0x10000))
    body, check = block(bytes(0x400))
    assert ask(session, Op.FLASH_DATA, body, check ^ 1)[0][8:] == status
    assert ask(session, Op.FLASH_DATA, body, check)[0][8] == 0


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (Op.SPI_FLASH_MD5, struct.pack("<IIII", 4 << 20, 1, 0, 0)),
        (Op.FLASH_BEGIN, struct.pack("<IIIII", 0x1000, 1, 0x4000, 4 << 20, 0)),
        (Op.READ_REG, b"\0"),
        (Op.FLASH_DATA, struct.pack("<IIII", 0, 0, 0, 0)),
        (0x77, b""),
    ],
)
def test_nonsense_is_refused_and_the_session_goes_on(op: int, body: bytes) -> None:
    session = stub()
    assert ask(session, op, body)[0][8] != 0
    assert len(ask(session, Op.SYNC, SYNC_PATTERN)) == 8


def test_a_frame_that_lost_a_byte_is_refused() -> None:
    frame = struct.pack("<BBHI", 0, Op.READ_REG, 4, 0) + b"abc"
    (reply,) = stub().receive(slip.encode(frame))
    assert isinstance(reply, Send)
    assert slip.SlipDecoder().feed(reply.data)[0][8:] == b"\xc0\0"


def test_too_little_and_too_much_compressed_data() -> None:
    session = stub()
    ask(session, Op.FLASH_DEFL_BEGIN, struct.pack("<IIIII", 100, 1, 0x4000, 0, 0))
    assert ask(session, Op.FLASH_DEFL_DATA, *block(zlib.compress(bytes(101))))[0][8:] == b"\xc9\0"
    ask(session, Op.FLASH_DEFL_BEGIN, struct.pack("<IIIII", 100, 1, 0x4000, 0, 0))
    ask(session, Op.FLASH_DEFL_DATA, *block(zlib.compress(bytes(99))))
    assert ask(session, Op.FLASH_DEFL_END, struct.pack("<I", 1))[0][8:] == b"\xc8\0"


def test_the_stub_acknowledges_before_it_writes_and_the_rom_after() -> None:
    """Source: the stub overlaps receiving with erasing and programming, the ROM does not."""
    body = struct.pack("<IIII", 0x400, 1, 0x400, 0x10000)
    quick, slow = stub(), rom()
    ask(quick, Op.FLASH_BEGIN, body)
    ask(slow, Op.FLASH_BEGIN, body)
    data = block(bytes(0x400))
    assert [type(a) for a in act(quick, Op.FLASH_DATA, *data)][1:] == [AwaitFlash, Send, OccupyFlash]
    assert [type(a) for a in act(slow, Op.FLASH_DATA, *data)][1:] == [OccupyFlash, AwaitFlash, Send]


def test_reading_keeps_to_the_window_and_ends_with_a_digest() -> None:
    session = stub()
    frames = ask(session, Op.READ_FLASH, struct.pack("<IIII", 0, 10 * 0x1000, 0x1000, 4))
    assert len(frames) == 1 + 4
    received = 4
    digests: list[bytes] = []
    while received < 10 or not digests:
        acknowledged = list(session.receive(slip.encode(struct.pack("<I", received * 0x1000))))
        more = slip.SlipDecoder().feed(b"".join(a.data for a in acknowledged if isinstance(a, Send)))
        digests = [frame for frame in more if len(frame) == 16]
        received += len(more) - len(digests)
    assert len(digests) == 1


def test_leaving_the_stub_gives_the_rom_back_and_leaving_the_rom_the_app() -> None:
    session = stub()
    assert Leave(ResetReason.SOFTWARE) not in act(session, Op.FLASH_END, bytes(4))
    assert not session.stub
    assert act(session, Op.FLASH_END, bytes(4))[-1] == Leave(ResetReason.SOFTWARE)


@pytest.mark.parametrize("chip", [ESP32, ESP32S3, ESP32C3])
@pytest.mark.parametrize(
    ("opcode", "bits", "answer"), [(0x9F, 24, 0x1640EF), (0x05, 8, 0), (0x35, 8, 2), (0x5A, 32, 0x01FFFFFF)]
)
def test_flash_commands_through_the_spi_registers(chip: ChipFacts, opcode: int, bits: int, answer: int) -> None:
    """READ ID, status registers, and the density word of SFDP at 0x14."""
    session, at = rom(chip), chip.spi

    def write(offset: int, value: int) -> None:
        ask(session, Op.WRITE_REG, struct.pack("<IIII", at.base + offset, value, 0xFFFFFFFF, 0))

    write(at.miso_dlen, bits - 1)
    if opcode == 0x5A:
        write(at.usr1, 23 << 26)
        write(4, 0x14 << 8 if at.address_msb else 0x14)
    write(at.usr, 1 << 31 | (1 << 30 if opcode == 0x5A else 0))
    write(at.usr2, 7 << 28 | opcode)
    write(at.w0, 0)
    write(0, 1 << 18)
    assert read_register(session, at.base) & 1 << 18 == 0
    assert read_register(session, at.base + at.w0) == answer
