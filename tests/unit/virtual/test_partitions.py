from __future__ import annotations

import pytest

from hut_ci.virtual.images import DEFAULT_PARTITIONS
from hut_ci.virtual.partitions import (
    APP,
    FACTORY,
    OTA_0,
    SECTOR,
    BadTableError,
    Partition,
    build_otadata,
    build_table,
    choose_app,
    otadata_entry,
    read_table,
)

FLASH = 4 << 20
APPS = [
    Partition("factory", APP, FACTORY, 0x10000, 0x100000),
    Partition("a", APP, OTA_0, 0x110000, 0x100000),
    Partition("b", APP, OTA_0 + 1, 0x210000, 0x100000),
]
BLANK = build_otadata()


def names(partitions: list[Partition], otadata: bytes | None) -> list[str]:
    return [part.name for part in choose_app(partitions, otadata).order]


def test_a_built_table_reads_back() -> None:
    assert read_table(build_table(DEFAULT_PARTITIONS), FLASH) == list(DEFAULT_PARTITIONS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda table: b"\xff" * len(table), "partition 0 invalid magic number 0xffff"),
        (lambda table: b"\0" * len(table), "partition 0 invalid magic number 0x0"),
        (lambda table: table[:4] + b"\1" + table[5:], "Incorrect MD5 checksum"),
    ],
)
def test_a_spoilt_table_is_refused(spoil: object, message: str) -> None:
    with pytest.raises(BadTableError, match=message):
        read_table(spoil(build_table(DEFAULT_PARTITIONS)), FLASH)  # type: ignore[operator]  # the functions above


def test_a_table_for_more_flash_is_refused() -> None:
    with pytest.raises(BadTableError, match="exceeds flash chip size 0x200000"):
        read_table(build_table(DEFAULT_PARTITIONS), 2 << 20)


@pytest.mark.parametrize(
    ("otadata", "order"),
    [
        (None, ["factory", "a", "b"]),
        (BLANK, ["factory", "a", "b"]),
        (build_otadata(1), ["a", "factory", "b"]),
        (build_otadata(1, 2), ["b", "a", "factory"]),
        (build_otadata(3, 2), ["a", "factory", "b"]),
        (otadata_entry(2, state=3).ljust(SECTOR, b"\xff") + b"\xff" * SECTOR, ["factory", "a", "b"]),
        (otadata_entry(2)[:-1] + b"\0" + b"\xff" * (2 * SECTOR), ["factory", "a", "b"]),
    ],
)
def test_the_choice_follows_sequence_state_and_crc(otadata: bytes | None, order: list[str]) -> None:
    assert names(APPS, otadata) == order


@pytest.mark.parametrize(
    ("apps", "otadata", "remark"),
    [
        (APPS, BLANK, "Defaulting to factory image"),
        (APPS[1:], BLANK, "No factory image, trying OTA 0"),
        (APPS, build_otadata(1), None),
        (
            APPS,
            otadata_entry(2)[:-1] + b"\0" + b"\xff" * (2 * SECTOR),
            "ota data partition invalid, falling back to factory",
        ),
    ],
)
def test_what_the_loader_says_about_its_choice(apps: list[Partition], otadata: bytes, remark: str | None) -> None:
    said = choose_app(apps, otadata).remark
    assert (said[1] if said else None) == remark


def test_a_known_crc() -> None:
    """Sequence 1 as esp-idf's otatool writes it."""
    assert otadata_entry(1)[-4:] == (0x4743989A).to_bytes(4, "little")
