"""The ESP ROM loader and the flasher stub, as a state machine: bytes in, actions out.

Nothing here waits or does I/O: what takes time is an action that the board carries out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hut_ci.virtual import slip
from hut_ci.virtual.chips import CHIP_MAGIC_ADDRESS, ChipFacts, Mac, ResetReason, Revision
from hut_ci.virtual.loader_protocol import (
    SYNC_PATTERN,
    AwaitFlash,
    Leave,
    Note,
    OccupyFlash,
    Op,
    Replies,
    Send,
    SetBaud,
    Trouble,
    checksum,
)
from hut_ci.virtual.nor_flash import SECTOR, NorFlash, erase_step
from hut_ci.virtual.spi_bus import SpiBus


@dataclass(slots=True)
class _Write:
    """A flash write in progress; `inflate` for compressed ones. `erased_to` is the end of what is erased already."""

    position: int
    end: int
    erased_to: int
    inflate: zlib._Decompress | None = None


@dataclass(slots=True)
class _Read:
    start: int
    length: int
    block: int
    window: int
    sent: int = 0


class Loader:
    """One session of the loader in a chip, from reset to reset. Starts as the ROM; an uploaded stub takes over.

    `spoil_md5` gets every digest before it is sent (a place for faults).
    """

    def __init__(
        self,
        chip: ChipFacts,
        mac: Mac,
        revision: Revision,
        flash: NorFlash,
        spoil_md5: Callable[[bytes], bytes] = lambda digest: digest,
    ) -> None:
        self._chip = chip
        self._flash = flash
        self._spoil_md5 = spoil_md5
        self._revision = revision
        self._registers = chip.registers(mac, revision) | {CHIP_MAGIC_ADDRESS: chip.magic}
        self._spi = SpiBus(chip.spi, flash.size)
        self._slip = slip.SlipDecoder()
        self._write: _Write | None = None
        self._read: _Read | None = None
        self._memory_left = 0
        self.stub = False

    def receive(self, data: bytes) -> Replies:
        for frame in self._slip.feed(data):
            if self._read and len(frame) == 4:
                yield from self._continue_read(int.from_bytes(frame, "little"))
            elif len(frame) >= 8 and frame[0] == 0:
                yield from self._request(frame)

    def _request(self, frame: bytes) -> Replies:
        op, length, check = struct.unpack_from("<xBHI", frame)
        body = frame[8:]
        self._read = None
        if len(body) != length:
            yield self._error(op, Trouble.BAD_DATA_LENGTH if self.stub else Trouble.ROM_INVALID_MESSAGE)
            return
        try:
            yield from self._answer(op, body, check)
        except (ValueError, struct.error):  # outside the flash; or fields are missing
            self._write = None
            yield self._error(op, Trouble.FAILED_SPI_OP if self.stub else Trouble.ROM_FAILED)

    def _answer(self, op: int, body: bytes, check: int) -> Replies:
        match op:
            case Op.SYNC:
                yield from self._sync(body)
            case Op.READ_REG:
                yield self._ok(op, value=self._read_register(*struct.unpack_from("<I", body)))
            case Op.WRITE_REG:
                yield from self._write_register(*struct.unpack_from("<III", body))
            case Op.MEM_BEGIN | Op.MEM_DATA | Op.MEM_END:
                yield from self._memory(op, body, check)
            case Op.SPI_ATTACH | Op.SPI_SET_PARAMS:
                yield self._ok(op)
            case Op.CHANGE_BAUDRATE:
                baud, _old = struct.unpack_from("<II", body)
                yield self._ok(op)
                yield SetBaud(baud)
            case Op.FLASH_BEGIN | Op.FLASH_DEFL_BEGIN:
                yield from self._flash_begin(op, body)
            case Op.FLASH_DATA | Op.FLASH_DEFL_DATA:
                yield from self._flash_data(op, body, check)
            case Op.FLASH_END | Op.FLASH_DEFL_END:
                yield from self._flash_end(op, stay=body[:4] != b"\0\0\0\0")
            case Op.SPI_FLASH_MD5:
                yield from self._md5(*struct.unpack_from("<II", body))
            case Op.GET_SECURITY_INFO:
                yield from self._security_info()
            case Op.READ_FLASH_SLOW if not self.stub:
                address, length = struct.unpack_from("<II", body)
                yield self._ok(op, self._flash.read(address, min(length, 64)).ljust(64, b"\0"))
            case Op.READ_FLASH | Op.ERASE_FLASH | Op.ERASE_REGION | Op.RUN_USER_CODE if self.stub:
                yield from self._stub_only(op, body)
            case _:
                yield from self._unknown(op)

    def _stub_only(self, op: int, body: bytes) -> Replies:
        match op:
            case Op.ERASE_FLASH:
                yield from self._erase(op, 0, self._flash.size)
            case Op.ERASE_REGION:
                yield from self._erase(op, *struct.unpack_from("<II", body))
            case Op.READ_FLASH:
                yield from self._start_read(*struct.unpack_from("<IIII", body))
            case _:
                yield Leave(ResetReason.SOFTWARE)

    # Answers

    def _ok(self, op: int, data: bytes = b"", value: int = 0) -> Send:
        status = b"\0\0" if self.stub else b"\0\0\0\0"
        return Send(slip.encode(struct.pack("<BBHI", 1, op, len(data) + len(status), value) + data + status))

    def _error(self, op: int, code: Trouble) -> Send:
        """The ROM says [1, code, 0, 0]. The stub's one code fills its first byte, the second stays 0."""
        status = bytes([code, 0]) if self.stub else bytes([1, code, 0, 0])
        return Send(slip.encode(struct.pack("<BBHI", 1, op, len(status), 0) + status))

    def _unknown(self, op: int) -> Replies:
        if self.stub:
            yield self._error(op, Trouble.NOT_IMPLEMENTED)
        else:
            # The ROM repeats its refusal eight times and does not name the command.
            yield Send(self._error(0, Trouble.ROM_INVALID_MESSAGE).data * 8)

    def _sync(self, body: bytes) -> Replies:
        if body != SYNC_PATTERN:
            return
        yield Note("loader_sync", "stub" if self.stub else "rom")
        yield Send(self._ok(Op.SYNC, value=0 if self.stub else 0x20120707).data * 8)

    def _security_info(self) -> Replies:
        """flags u32, crypt count, 7 key purposes, chip id u32, eco version u32. The ESP32 has no such command."""
        if not self._chip.security_info:
            yield from self._unknown(Op.GET_SECURITY_INFO)
            return
        answer = struct.pack("<IB7xII", 0, 0, self._chip.image_chip_id, self._revision[0] * 100 + self._revision[1])
        yield self._ok(Op.GET_SECURITY_INFO, answer)

    # Registers

    def _read_register(self, address: int) -> int:
        return self._spi.read(address) if self._spi.owns(address) else self._registers.get(address, 0)

    def _write_register(self, address: int, value: int, mask: int) -> Replies:
        if self._spi.owns(address):
            self._spi.write(address, value, mask)
        yield self._ok(Op.WRITE_REG)
        if address == self._chip.watchdog_config and value >> 31:
            yield Leave(ResetReason.RTC_WATCHDOG)

    # RAM

    def _memory(self, op: int, body: bytes, check: int) -> Replies:
        if op == Op.MEM_BEGIN:
            (self._memory_left,) = struct.unpack_from("<I", body)
        elif op == Op.MEM_DATA:
            data = body[16:]
            if checksum(data) != check:
                yield self._error(op, Trouble.BAD_DATA_CHECKSUM if self.stub else Trouble.ROM_BAD_CHECKSUM)
                return
            self._memory_left -= len(data)
        yield self._ok(op)
        if op == Op.MEM_END and struct.unpack_from("<I", body) == (0,):
            self.stub = True
            yield Note("stub_started", f"entry {int.from_bytes(body[4:8], 'little'):#x}")
            yield Send(slip.encode(b"OHAI"))

    # Writing flash

    def _flash_begin(self, op: int, body: bytes) -> Replies:
        size, blocks, block_size, offset = struct.unpack_from("<IIII", body)
        yield Note("flash_begin", f"offset={offset:#x} size={size}")
        end = offset + (size if op == Op.FLASH_DEFL_BEGIN else max(size, blocks * block_size if size else 0))
        if end > -(-self._flash.size // block_size) * block_size or (size and offset >= self._flash.size):
            raise ValueError("write beyond the flash")
        inflate = zlib.decompressobj() if op == Op.FLASH_DEFL_BEGIN else None
        self._write = _Write(offset, end, offset - offset % SECTOR, inflate)
        if not self.stub:
            yield OccupyFlash(self._flash.erase(offset, size))
            self._write.erased_to = end
            yield AwaitFlash()
        yield self._ok(op)

    def _flash_data(self, op: int, body: bytes, check: int) -> Replies:
        length, sequence = struct.unpack_from("<II", body)
        data = body[16:]
        write = self._write
        if write is None or (write.inflate is not None) != (op == Op.FLASH_DEFL_DATA):
            yield self._error(op, Trouble.NOT_IN_FLASH_MODE if self.stub else Trouble.ROM_FAILED)
            return
        if len(data) != length or checksum(data) != check:
            yield self._error(op, Trouble.BAD_DATA_CHECKSUM if self.stub else Trouble.ROM_BAD_CHECKSUM)
            return
        yield Note("flash_data", f"offset={write.position:#x} seq={sequence} size={length}")
        if self.stub:  # one buffer is being written while the next one fills, so a block waits for its predecessor only
            yield AwaitFlash()
            trouble, seconds = self._store(write, data)
            yield self._error(op, trouble) if trouble else self._ok(op)
            yield OccupyFlash(seconds)
        else:
            trouble, seconds = self._store(write, data)
            yield OccupyFlash(seconds)
            yield AwaitFlash()
            yield self._error(op, trouble) if trouble else self._ok(op)

    def _store(self, write: _Write, data: bytes) -> tuple[Trouble | None, float]:
        if write.inflate is not None:
            try:
                data = write.inflate.decompress(data)
            except zlib.error:
                return (Trouble.INFLATE if self.stub else Trouble.ROM_INFLATE), 0.0
        room = min(write.end, self._flash.size) - write.position
        if write.inflate is not None and len(data) > room:
            return (Trouble.TOO_MUCH_DATA if self.stub else Trouble.ROM_FAILED), 0.0
        data = data[:room]
        seconds = self._erase_up_to(write, write.position + len(data))
        seconds += self._flash.program(write.position, data)
        write.position += len(data)
        return None, seconds

    def _erase_up_to(self, write: _Write, needed: int) -> float:
        """The stub erases ahead of its writes, in the largest steps that stay inside the announced range."""
        seconds = 0.0
        last = -(-write.end // SECTOR) * SECTOR
        while write.erased_to < needed:
            step = erase_step(write.erased_to, last)
            seconds += self._flash.erase(write.erased_to, step)
            write.erased_to += step
        return seconds

    def _flash_end(self, op: int, stay: bool) -> Replies:
        yield Note("flash_end", "stay" if stay else "leave")
        write, self._write = self._write, None
        yield AwaitFlash()
        if self.stub and write and write.inflate is not None and write.position < write.end:
            yield self._error(op, Trouble.NOT_ENOUGH_DATA)
            return
        yield self._ok(op)
        if stay:
            return
        if self.stub:  # the stub returns to the ROM loader
            self.stub = False
        else:
            yield Leave(ResetReason.SOFTWARE)

    def _erase(self, op: int, address: int, length: int) -> Replies:
        yield Note("erase", f"offset={address:#x} size={length}")
        whole = address == 0 and length == self._flash.size
        yield OccupyFlash(self._flash.erase_all() if whole else self._flash.erase(address, length))
        yield AwaitFlash()
        yield self._ok(op)

    # Reading flash

    def _md5(self, address: int, length: int) -> Replies:
        yield Note("md5", f"offset={address:#x} size={length}")
        yield AwaitFlash()
        digest = self._spoil_md5(self._flash.md5(address, length))
        yield self._ok(Op.SPI_FLASH_MD5, digest if self.stub else digest.hex().encode())

    def _start_read(self, start: int, length: int, block: int, window: int) -> Replies:
        """The stub sends up to `window` blocks ahead of the host's acknowledgements, at last the MD5 of all."""
        yield Note("read_flash", f"offset={start:#x} size={length}")
        yield AwaitFlash()
        self._flash.read(start, length)
        yield self._ok(Op.READ_FLASH)
        self._read = _Read(start, length, block, window)
        yield from self._continue_read(0)

    def _continue_read(self, acknowledged: int) -> Replies:
        read = self._read
        if read is None:
            return
        while read.sent < read.length and read.sent - acknowledged < read.window * read.block:
            size = min(read.block, read.length - read.sent)
            yield Send(slip.encode(self._flash.read(read.start + read.sent, size)))
            read.sent += size
        if acknowledged >= read.length:
            self._read = None
            yield Send(slip.encode(self._flash.md5(read.start, read.length)))
