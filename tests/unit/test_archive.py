"""security 9: archives are refused, not sanitised."""

from __future__ import annotations

import contextlib
import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hut_ci.archive import Limits, extract, is_archive
from hut_ci.errors import ArtifactError, HostileArchive, HutCiError

Entry = tuple[str, bytes]


def zipped(*entries: Entry | tuple[zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in entries:
            out.writestr(name, data)
    return buffer.getvalue()


def special(mode: int, name: str = "x", data: bytes = b"/etc/passwd") -> bytes:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return zipped((info, data))


def renamed(old: str, new: bytes) -> bytes:
    """A name that the zip library would not write: put in by replacing the bytes."""
    data = zipped((old, b"1"))
    assert len(old) == len(new)
    return data.replace(old.encode(), new)


def tarred(*members: tarfile.TarInfo | Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as out:
        for member in members:
            info, data = (
                (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            )
            info.size = len(data) or info.size
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def tar_member(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def twice() -> bytes:
    data = zipped(("aa", b"1"), ("ab", b"2"))
    return data.replace(b"ab", b"aa")


def overlapping(count: int, size: int) -> bytes:
    """Many directory entries over one deflated body: small to carry, huge to unpack."""
    body = zipped(("f0000", bytes(size)))
    start = body.index(b"PK\x01\x02")
    end = body.index(b"PK\x05\x06")
    rows = b"".join(body[start:end].replace(b"f0000", b"f%04d" % number) for number in range(count))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(rows), start, 0)
    return body[:start] + rows + tail


SMALL = Limits(files=20, total=1 << 20, ratio=10, ratio_from=1 << 17)
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute": (lambda: zipped(("/etc/cron.d/x", b"1")), "absolute"),
    "parent": (lambda: zipped(("a/../../x", b"1")), "leads out"),
    "parent_at_end": (lambda: zipped(("a/..", b"1")), "leads out"),
    "drive": (lambda: zipped(("C:/x", b"1")), "absolute"),
    "backslash": (lambda: renamed("a-b", b"a\\b"), "backslash"),
    "nul": (lambda: renamed("a-b", b"a\0b"), "unprintable"),
    "newline": (lambda: zipped(("a\n::set-output", b"1")), "unprintable"),
    "terminal": (lambda: zipped(("\x1b[2J", b"1")), "unprintable"),
    "long_name": (lambda: zipped(("x" * 256, b"1")), "too long"),
    "symlink": (lambda: special(stat.S_IFLNK | 0o777), "symbolic link"),
    "device": (lambda: special(stat.S_IFBLK | 0o600), "device"),
    "fifo": (lambda: special(stat.S_IFIFO | 0o600), "special file"),
    "duplicate": (twice, "in it twice"),
    "duplicate_spelt_otherwise": (lambda: zipped(("a/b", b"1"), ("a/./b", b"2")), "in it twice"),
    "case": (lambda: zipped(("Boot.bin", b"1"), ("boot.bin", b"2")), "differ only in case"),
    "case_of_folder": (lambda: zipped(("Build/a", b"1"), ("build/b", b"2")), "differ only in case"),
    "case_of_umlaut": (lambda: zipped(("\u00e4", b"1"), ("a\u0308", b"2")), "differ only in case"),
    "file_is_folder": (lambda: zipped(("a", b"1"), ("a/b", b"2")), "a file and a folder"),
    "folder_is_file": (lambda: zipped(("a/b", b"1"), ("a", b"2")), "a file and a folder"),
    "too_many": (lambda: zipped(*((f"f{i}", b"") for i in range(21))), "more than 20 entries"),
    "too_large": (lambda: zipped(("a", bytes((1 << 20) + 1))), "more than 1048576 bytes"),
    "ratio": (lambda: zipped(("a", bytes(1 << 18))), "10 times"),
    "overlapping_bomb": (lambda: overlapping(10, 1 << 16), "10 times"),
    "nested_twice": (lambda: zipped(("a.zip", zipped(("b.zip", zipped(("c", b"1")))))), "more than one level"),
    "nested_hostile": (lambda: zipped(("a.zip", zipped(("../c", b"1")))), "leads out"),
    "nested_bomb": (lambda: zipped(("a.zip", zipped(("c", bytes((1 << 20) + 1))))), "more than 1048576 bytes"),
    "tar_absolute": (lambda: tarred(("/x", b"1")), "absolute"),
    "tar_parent": (lambda: tarred(("a/../../x", b"1")), "leads out"),
    "tar_symlink": (lambda: tarred(tar_member("x", tarfile.SYMTYPE)), "link"),
    "tar_hardlink": (lambda: tarred(("a", b"1"), tar_member("x", tarfile.LNKTYPE, "a")), "link"),
    "tar_device": (lambda: tarred(tar_member("x", tarfile.CHRTYPE)), "device"),
    "tar_fifo": (lambda: tarred(tar_member("x", tarfile.FIFOTYPE)), "device"),
    "tar_case": (lambda: tarred(("A", b"1"), ("a", b"2")), "differ only in case"),
    "tar_duplicate": (lambda: tarred(("a", b"1"), ("a", b"2")), "in it twice"),
    "tar_too_large": (lambda: tarred(("a", bytes((1 << 20) + 1))), "more than 1048576 bytes"),
    "tar_bomb": (lambda: tarred(("a", bytes(1 << 19))), "10 times"),
    "gzip_bomb": (lambda: gzip.compress(tar_header_bomb()), "more than"),
}


def tar_header_bomb() -> bytes:
    """An extended header that claims, and has, 8 MB: it is read whole before any entry is seen."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 << 20
    return info.tobuf() + bytes(8 << 20)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(case: str, tmp_path: Path) -> None:
    make, words = HOSTILE[case]
    archive, into = tmp_path / "a", tmp_path / "into"
    archive.write_bytes(make())
    with pytest.raises(HostileArchive, match=words) as caught:
        extract(archive, into, limits=SMALL)
    assert caught.value.why
    assert caught.value.todo
    assert caught.value.evidence == "hostile_archive"
    assert caught.value.what.isprintable()
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert written <= ({"a", "a.zip", "b.zip"} if case.startswith("nested") else {"a"}), "files before the check"


GOOD = zipped(("build/a.bin", b"\x00" * 100), ("build/", b""), ("build/sub/b.bin", b"b"))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", GOOD[:-10], GOOD[:60] + GOOD[70:], b"<html>", b"\x1f\x8b\x08\x00abc"]
)
def test_damaged(data: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        extract(archive, tmp_path / "into")
    assert not isinstance(caught.value, HostileArchive)
    assert caught.value.why
    assert caught.value.todo


def test_wrong_crc(tmp_path: Path) -> None:
    data = bytearray(zipped(("a", b"hello" * 50)))
    at = data.index(b"PK\x01\x02")
    data[14] ^= 1
    data[at + 16] ^= 1
    archive = tmp_path / "a.zip"
    archive.write_bytes(data)
    with pytest.raises(ArtifactError, match="CRC"):
        extract(archive, tmp_path / "into")


def test_truncated_tar(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tarred(("a", bytes(range(256)) * 40))[:-200])
    with pytest.raises(ArtifactError):
        extract(archive, tmp_path / "into")


@pytest.mark.parametrize("data", [GOOD, tarred(("./build/a.bin", bytes(100)), ("build/sub/b.bin", b"b"))])
def test_good(data: bytes, tmp_path: Path) -> None:
    """A private folder: 0700, files 0600, whatever modes the archive asks for."""
    archive = tmp_path / "a"
    archive.write_bytes(data)
    assert is_archive(archive)
    root = extract(archive, tmp_path / "into", limits=SMALL)
    assert root == tmp_path / "into"
    assert (root / "build/a.bin").read_bytes() == bytes(100)
    assert (root / "build/sub/b.bin").read_bytes() == b"b"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_file()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_dir()} == {0o700}


def test_double_extension(tmp_path: Path) -> None:
    """`x.zip.zip`: the nested archive alone is the content."""
    archive = tmp_path / "x.zip.zip"
    archive.write_bytes(zipped(("x.zip", GOOD)))
    root = extract(archive, tmp_path / "into")
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.bin")) == ["build/a.bin", "build/sub/b.bin"]


def test_nested_beside_files(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped(("app.bin", b"1"), ("build_output.zip", GOOD), ("build_output/old", b"2")))
    root = extract(archive, tmp_path / "into")
    assert root == tmp_path / "into"
    assert (root / "build_output.zip.unpacked/build/a.bin").is_file()
    assert not (root / "build_output.zip").exists()


def test_several_nested_stay_packed(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped(("a.zip", GOOD), ("b.zip", GOOD)))
    root = extract(archive, tmp_path / "into")
    assert sorted(path.name for path in root.iterdir()) == ["a.zip", "b.zip"]


def test_a_nearly_blank_flash_image_is_no_bomb(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped(("flash.bin", b"\xff" * (32 << 20))))
    assert (extract(archive, tmp_path / "into") / "flash.bin").stat().st_size == 32 << 20


def test_only_into_a_fresh_folder(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(GOOD)
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "old").touch()
    with pytest.raises(ArtifactError, match="not empty"):
        extract(archive, tmp_path / "into")


def test_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    archive.write_bytes(zipped(*((f"{'n' * 200}{i}", b"") for i in range(120))))
    with pytest.raises(HostileArchive, match="its directory has"):
        extract(archive, tmp_path / "into", limits=Limits(files=20))


def test_zip64(tmp_path: Path) -> None:
    """A zip64 end record, as writers make that do not know the size beforehand."""
    data = zipped(("a", b"1"))
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, end - start, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    archive = tmp_path / "x.zip"
    archive.write_bytes(data[:end] + record + locator + tail)
    assert (extract(archive, tmp_path / "into") / "a").read_bytes() == b"1"


@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), cut=st.integers(0, len(GOOD)))
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_never_escapes_as_another_error(
    at: int, value: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    archive = folder / "a"
    archive.write_bytes((GOOD[:at] + bytes([value]) + GOOD[at + 1 :])[: cut or None])
    with contextlib.suppress(HutCiError):
        extract(archive, folder / "into")
    assert {path.name for path in folder.iterdir()} <= {"a", "into"}
