"""What ESP-IDF's panic handler prints, for both instruction sets."""

from __future__ import annotations

from hut_ci.virtual.chips import ChipFacts

_XTENSA_REGISTERS = (
    "PC      : 0x400d5a3e  PS      : 0x00060130  A0      : 0x800d7f1c  A1      : 0x3ffb5b50  ",
    "A2      : 0x00000000  A3      : 0x00000001  A4      : 0x3f4017c8  A5      : 0x3ffb5b80  ",
    "A6      : 0x3ffb5b60  A7      : 0x0000000c  A8      : 0x800d5a3b  A9      : 0x3ffb5b30  ",
    "A10     : 0x00000000  A11     : 0x3f4017c8  A12     : 0x3f401800  A13     : 0x00000005  ",
    "A14     : 0x3ffb5b60  A15     : 0x0000000c  SAR     : 0x00000004  EXCCAUSE: 0x0000001c  ",
    "EXCVADDR: 0x00000000  LBEG    : 0x400014fd  LEND    : 0x4000150d  LCOUNT  : 0xfffffffb  ",
)
_XTENSA_BACKTRACE = "Backtrace: 0x400d5a3b:0x3ffb5b50 0x400d7f19:0x3ffb5b80 0x40086d25:0x3ffb5bb0"
_RISCV_REGISTERS = (
    "MEPC    : 0x42007a2e  RA      : 0x42007a24  SP      : 0x3fc90b40  GP      : 0x3fc8b200  ",
    "TP      : 0x3fc7f2d8  T0      : 0x4005890e  T1      : 0x3fc8f6dc  T2      : 0x00000000  ",
    "MSTATUS : 0x00001881  MTVEC   : 0x40380001  MCAUSE  : 0x00000005  MTVAL   : 0x00000000  ",
)
_RISCV_CAUSES = {"LoadProhibited": "Load access fault", "StoreProhibited": "Store access fault"}


def panic_text(chip: ChipFacts, cause: str, elf_sha256: bytes) -> bytes:
    """A Guru Meditation block, from the empty line before it to `Rebooting...`."""
    name = _RISCV_CAUSES.get(cause, cause) if chip.riscv else cause
    registers = _RISCV_REGISTERS if chip.riscv else _XTENSA_REGISTERS
    lines = [
        f"Guru Meditation Error: Core  0 panic'ed ({name}). Exception was unhandled.",
        "",
        "Core  0 register dump:",
        *registers,
        "",
        "",
        *_stack(chip),
        *_ending(elf_sha256),
    ]
    return _text(lines)


def abort_text(chip: ChipFacts, elf_sha256: bytes) -> bytes:
    place = "0x42007a2e" if chip.riscv else "0x400818c4"
    return _text(["", f"abort() was called at PC {place} on core 0", *_stack(chip), *_ending(elf_sha256)])


def brownout_text() -> bytes:
    return _text(["", "Brownout detector was triggered", ""])


def _stack(chip: ChipFacts) -> list[str]:
    if chip.riscv:
        return ["Stack memory:", "3fc90b40: 0x00000000 0x42007a24 0x3fc90b60 0x4200801c 0x00000000 0x00000000", "", ""]
    return ["", _XTENSA_BACKTRACE, "", ""]


def _ending(elf_sha256: bytes) -> list[str]:
    return ["", f"ELF file SHA256: {elf_sha256.hex()[:16]}", "", "Rebooting..."]


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()
