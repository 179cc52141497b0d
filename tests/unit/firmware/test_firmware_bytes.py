"""Images, partition tables and otadata, read from bytes; whatever the bytes are, only our errors come out."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_firmware
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hut_ci.errors import ArtifactError, BrokenBuild, HutCiError
from hut_ci.firmware import load, otadata
from hut_ci.firmware.image import read_image
from hut_ci.firmware.merged import recognise
from hut_ci.firmware.partitions import SUBTYPES, read_table
from hut_ci.model import FlashSettings
from hut_ci.stages.artifact import local_build

ANY_FOLDER = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("size", [1024, 1040, 65536])
def test_every_flipped_bit_of_an_image_body_is_seen(size: int, hashed: bool) -> None:
    good = tiny_firmware.app(size=size, hashed=hashed)
    assert read_image(good, "a").length == len(good) == size
    for at in (32, 100, size // 2, size - 40):
        bad = bytearray(good)
        bad[at] ^= 0x10
        with pytest.raises(BrokenBuild, match="wrong checksum"):
            read_image(bytes(bad), "a")


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        (0, 65535, ((0, 0), None)),
        (0, 0, ((0, 0), None)),
        (100, 399, ((1, 0), (3, 99))),
        (301, 301, ((3, 1), (3, 1))),
    ],
)
def test_revisions(minimum: int, maximum: int, expected: object) -> None:
    image = read_image(tiny_firmware.image(minimum=minimum, maximum=maximum), "a")
    assert (image.min_revision, image.max_revision) == expected


def test_the_revision_of_an_image_from_before_the_full_fields() -> None:
    data = bytearray(tiny_firmware.image(hashed=False))
    data[14:19] = bytes([3, 0, 0, 0, 0])
    image = read_image(bytes(data), "a")
    assert (image.min_revision, image.max_revision) == ((3, 0), None)


def test_a_signature_behind_the_image() -> None:
    data = tiny_firmware.app().ljust(4096, b"\xff")
    assert not read_image(data, "a").signed
    assert read_image(data + b"\xe7\x02" + bytes(100), "a").signed


def test_descriptor_text_cannot_control_a_terminal() -> None:
    image = read_image(tiny_firmware.app(version="\x1b[31m1", project="a\nb"), "a")
    assert image.descriptor is not None
    assert (image.descriptor.version, image.descriptor.project) == ("?[31m1", "a?b")


def test_no_descriptor_in_a_bootloader() -> None:
    assert read_image(tiny_firmware.image(), "b").descriptor is None


def test_table() -> None:
    rows = read_table(tiny_firmware.table("nvs,data,nvs,0x9000,0x4000,readonly\na,app,ota_1,,0x10000"), "t")
    assert [(r.label, r.type, r.subtype, r.offset, r.size, r.readonly) for r in rows] == [
        ("nvs", "data", "nvs", 0x9000, 0x4000, True),
        ("a", "app", "ota_1", 0x10000, 0x10000, False),
    ]
    assert SUBTYPES["app"][0x1F] == "ota_15"


def test_table_without_md5_row() -> None:
    assert len(read_table(tiny_firmware.table(md5=False), "t")) == 7


OTA_ONLY = "o,data,ota,0xd000,0x2000\na,app,ota_0,0x10000,0x10000\nb,app,ota_1,0x20000,0x10000"


@pytest.mark.parametrize(
    ("csv", "content", "label"),
    [
        (tiny_firmware.TABLE, b"", "factory"),
        (tiny_firmware.TABLE, tiny_firmware.otadata(1), "ota_0"),
        (OTA_ONLY, tiny_firmware.otadata(), "a"),
        (OTA_ONLY, tiny_firmware.otadata(2), "b"),
        (OTA_ONLY, otadata.record(3).ljust(0x1000, b"\xff") + otadata.record(2), "a"),
        (OTA_ONLY, otadata.record(1).ljust(0x1000, b"\xff") + otadata.record(2), "b"),
        (OTA_ONLY, otadata.record(2)[:-1] + b"\0", "a"),
        (OTA_ONLY, otadata.record(2)[:24] + b"\x04\0\0\0" + otadata.record(2)[28:], "a"),
        ("n,data,nvs,0x9000,0x1000", b"", None),
    ],
)
def test_otadata_chooses(csv: str, content: bytes, label: str | None) -> None:
    chosen = otadata.selected(content, read_table(tiny_firmware.table(csv), "t"))
    assert (chosen.label if chosen else None) == label


def test_the_known_bytes_of_boot_app0() -> None:
    assert otadata.record(1).hex() == "01000000" + "ff" * 24 + "9a984347"


@given(data=st.binary(max_size=300), good=st.integers(0, 300))
@example(data=b"", good=24)
@example(data=b"\xff" * 300, good=28)
@settings(deadline=None, derandomize=True)
def test_any_bytes_as_image_or_table(data: bytes, good: int) -> None:
    for start in (tiny_firmware.app()[:good], tiny_firmware.table()[:good], b""):
        for read in (read_image, read_table):
            with contextlib.suppress(HutCiError):
                read(start + data, "x")
        recognise(start + data)


@given(
    data=st.binary(max_size=200), name=st.sampled_from(["a.bin", "flash_args", "flasher_args.json", "manifest.json"])
)
@example(data=b"[" * 100_000, name="flasher_args.json")
@example(data=b'{"flash_files": {"0x1' + b"0" * 5000 + b'": "a"}}', name="flasher_args.json")
@example(data=b"9" * 5000, name="manifest.json")
@example(
    data=b'{"builds": [{"chipFamily": "ESP32", "parts": [{"path": "' + b"a/" * 2000 + b'"}]}]}', name="manifest.json"
)
@ANY_FOLDER
def test_any_bytes_as_a_build(data: bytes, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tiny_firmware.write(tmp_path_factory.mktemp("any"), {f"build/{name}": data})
    for path in (folder, folder / "build" / name):
        with contextlib.suppress(HutCiError):
            load(path, folder / "work")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0x1000", "a.bin"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(files=JSON, settings_=JSON, extra=JSON, build=JSON)
@ANY_FOLDER
def test_any_json_as_a_listing(
    files: Any, settings_: Any, extra: Any, build: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    listing = {
        "flash_files": files,
        "flash_settings": settings_,
        "write_flash_args": extra,
        "extra_esptool_args": extra,
    }
    manifest = {"builds": [{"chipFamily": "ESP32", "parts": [build, {"path": build, "offset": extra}]}, files]}
    image_list = {"extra": {"flash_images": [files, {"path": build, "offset": "0x0"}], "application_offset": extra}}
    names = ("firmware.bin", "bootloader.bin", "a.bin")
    folder = tmp_path_factory.mktemp("json")
    tiny_firmware.write(folder / "idf", {"flasher_args.json": json.dumps(listing).encode(), "a.bin": b""})
    tiny_firmware.write(folder / "web", {"manifest.json": json.dumps(manifest).encode(), "a.bin": b""})
    tiny_firmware.write(
        folder / "pio",
        {name: tiny_firmware.app() for name in names}
        | {"partitions.bin": tiny_firmware.table(), "idedata.json": json.dumps(image_list).encode()},
    )
    for case in ("idf", "web", "pio"):
        with contextlib.suppress(HutCiError):
            load(folder / case, folder / "work")


def test_a_listing_cannot_ask_for_more_than_a_flash_chip(tmp_path: Path) -> None:
    """One sparse file, listed again and again, would fill the memory of the lab host."""
    with (tmp_path / "a.bin").open("wb") as out:
        out.truncate(5 << 20)
    lines = "".join(f"{0x1000 * number:#x} a.bin\n" for number in range(60))
    (tmp_path / "flash_args").write_text(lines)
    with pytest.raises(HutCiError, match="its files have 314572800 bytes"):
        load(tmp_path, tmp_path / "work")
    (tmp_path / "flash_args").write_text("0x1000 a.bin\n" * 65)
    with pytest.raises(HutCiError, match="it lists 65 files"):
        load(tmp_path, tmp_path / "work")


def test_links_out_of_the_build_are_not_followed(tmp_path: Path) -> None:
    """security 10: a name may be innocent and the file behind it not."""
    build = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard())
    outside = tmp_path / "secret.bin"
    outside.write_bytes(tiny_firmware.app())
    (build / "tiny.bin").unlink()
    (build / "tiny.bin").symlink_to(outside)
    with pytest.raises(HutCiError, match="outside of the artifact"):
        load(build, tmp_path / "work")
    with pytest.raises(HutCiError, match="not in the build"):
        load(build, tmp_path / "work", FlashSettings(offsets={"tiny.bin": 0x10000}))


def test_a_listing_that_is_a_link_out_of_the_build(tmp_path: Path) -> None:
    """security 10: the refusal of a file's first line would show it."""
    (tmp_path / "token").write_text("the token of the host\n")
    build = tmp_path / "build"
    build.mkdir()
    (build / "flash_args").symlink_to(tmp_path / "token")
    with pytest.raises(HutCiError, match="outside of the artifact") as refused:
        load(build, tmp_path / "work")
    assert "the token" not in str(refused.value)


def test_a_pipe_is_no_build(tmp_path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HutCiError, match="neither a file nor a folder"):
        load(tmp_path / "pipe", tmp_path / "work")


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    """security 20, 21: hashing a sparse terabyte takes an hour, and no deadline ends it."""
    with (tmp_path / "build.zip").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="at most"):
        local_build(tmp_path / "build.zip")
