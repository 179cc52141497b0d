from __future__ import annotations

import pytest

from hut_ci.virtual.faults import FAULTS, ByteFaults, Fault, FaultSet, describe_faults, parse_fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("silent", Fault("silent")),
        ("silent:2", Fault("silent", count=2)),
        ("drop_byte_from_host@5000", Fault("drop_byte_from_host", count=1, at=5000)),
        ("port_vanishes@9=0.5:3", Fault("port_vanishes", count=3, at=9, value="0.5")),
        ("wrong_chip=esp32s3", Fault("wrong_chip", value="esp32s3")),
    ],
)
def test_notation(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["", "silence", "silent@5", "silent=1", "silent:", "panic:x", "Panic"])
def test_wrong_notation_says_what_there_is(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_fault(text)


def test_every_fault_is_described() -> None:
    text = describe_faults()
    assert len(text.splitlines()) == len(FAULTS)
    assert all(name in text for name in FAULTS)


def test_a_counted_fault_is_used_up() -> None:
    faults = FaultSet(["panic:2"])
    assert [bool(faults.take("panic")) for _ in range(3)] == [True, True, False]
    assert faults.find("panic") is None


def test_an_uncounted_fault_stays() -> None:
    faults = FaultSet(["hang"])
    assert all(faults.take("hang") for _ in range(5))
    faults.clear()
    assert faults.take("hang") is None


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("drop_byte_to_host@3", b"abcefgh"),
        ("duplicate_byte_to_host@4", b"abcdeefgh"),
        ("corrupt_byte_to_host@0", b"\x9ebcdefgh"),
        ("drop_byte_from_host@3", b"abcdefgh"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_one_byte_is_spoilt_whatever_the_chunks(fault: str, result: bytes, chunk: int) -> None:
    line = ByteFaults(FaultSet([fault]), "to_host")
    data = b"abcdefgh"
    assert b"".join(line.apply(data[at : at + chunk]) for at in range(0, 8, chunk)) == result
