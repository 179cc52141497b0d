"""The same build from a folder, an archive, a nested archive; the real one; and the command that shows a plan."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import tiny_firmware
from click.testing import CliRunner

from hut_ci.cli.firmware import command
from hut_ci.errors import BrokenBuild, HostileArchive, HutCiError, NotFlashable, UsageError
from hut_ci.firmware import describe, load
from hut_ci.model import FlashSettings

SAMPLES = Path(__file__).parents[4] / "shared" / "samples"
needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside this repository")


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


def in_build(prefix: str = "build/") -> dict[str, bytes]:
    return {prefix + name: data for name, data in tiny_firmware.standard().items()}


@pytest.mark.parametrize(
    "data",
    [
        zip_of(in_build("")),
        zip_of(in_build()),
        zip_of(in_build("anything/")),
        zip_of({"x.zip": zip_of(in_build())}),
        zip_of({"squeezelite.bin": tiny_firmware.app(), "build_output.zip": zip_of(in_build())}),
    ],
    ids=["flat", "build", "one_below", "double_extension", "nested_beside_an_app"],
)
def test_archives(data: bytes, tmp_path: Path) -> None:
    folder = tiny_firmware.write(tmp_path / "folder", in_build())
    archive = tmp_path / "artifact.zip"
    archive.write_bytes(data)
    facts = [describe(load(path, tmp_path / path.name / "work")) for path in (folder,)]
    facts.append(describe(load(archive, tmp_path / "unzipped")))
    assert facts[0] == facts[1]


def test_a_hostile_archive_stays_hostile(tmp_path: Path) -> None:
    archive = tmp_path / "artifact.zip"
    archive.write_bytes(zip_of({"../x": b"1"}))
    with pytest.raises(HostileArchive):
        load(archive, tmp_path / "work")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFlashable, match="does not exist"):
        load(tmp_path / "build", tmp_path / "work")


def test_every_format_gives_the_same_parts(tmp_path: Path) -> None:
    """flasher_args.json, flash_args and a manifest for the same files agree."""
    files = tiny_firmware.standard("esp32c6")
    listed = {int(at, 0): name for at, name in json.loads(files.pop("flasher_args.json"))["flash_files"].items()}
    lines = "\n".join(f"{at:#x} {name}" for at, name in listed.items())
    parts = [{"path": name, "offset": at} for at, name in listed.items()]
    listings = {
        "flash_args": lines.encode(),
        "flash_project_args": lines.encode(),
        "manifest.json": json.dumps({"builds": [{"chipFamily": "ESP32-C6", "parts": parts}]}).encode(),
    }
    del files["flash_args"]
    found = []
    for name, data in listings.items():
        folder = tiny_firmware.write(tmp_path / name, files | {name: data})
        found.append(load(folder, tmp_path / "work"))
    assert [plan.source_format for plan in found] == list(listings)
    assert len({tuple((part.offset, part.sha256) for part in plan.parts) for plan in found}) == 1
    assert {plan.chip for plan in found} == {"esp32c6"}


def test_splitting_keeps_every_byte_that_is_no_padding(tmp_path: Path) -> None:
    """Write the parts of a merged image over a full chip: the image's bytes arrive, the settings stay."""
    content = {0x1000: tiny_firmware.image(), 0x8000: tiny_firmware.table(), 0x10000: tiny_firmware.app(size=4096)}
    whole = tiny_firmware.merged(content | {0x30000: bytes(0x200)})
    (tmp_path / "a.bin").write_bytes(whole)
    flash = bytearray(b"\x77" * 0x40000)
    plan = load(tmp_path / "a.bin", tmp_path / "work")
    for part in plan.parts:
        flash[part.offset : part.offset + part.size] = part.path.read_bytes()
    for at, data in content.items():
        assert flash[at : at + len(data)] == data
    assert flash[0x9000:0xD000] == b"\x77" * 0x4000
    assert flash[0xD000:0xF000] == b"\xff" * 0x2000
    assert flash[0x38000:] == b"\x77" * 0x8000


@needs_samples
def test_the_real_squeezelite_build(tmp_path: Path) -> None:
    plan = load(SAMPLES / "squeezelite-4.3-i2s-16", tmp_path)
    assert plan.source_format == "flash_project_args"
    assert (plan.chip, plan.mode, plan.freq, plan.size) == ("esp32", "dio", "80m", "detect")
    assert (plan.min_revision, plan.max_revision) == ((1, 0), (3, 99))
    assert plan.flash_needed == 4 << 20
    assert plan.needs_psram
    assert [(part.offset, part.purpose) for part in plan.parts] == [
        (0x1000, "bootloader"),
        (0x8000, "partition_table"),
        (0xD000, "otadata"),
        (0x10000, "app"),
        (0x150000, "app"),
    ]
    assert plan.kept == ("nvs", "phy_init", "settings")
    assert plan.erased == ()
    assert plan.notes == ("otadata is blank: the factory app recovery will boot",)
    recovery, player = plan.apps
    assert (recovery.label, recovery.version, recovery.idf) == ("recovery", "I2S-4MFlash-1716", "v4.3.5-dirty")
    assert recovery.elf_sha256 is not None
    assert recovery.elf_sha256.startswith("cb6e33b5")
    assert (player.label, player.project, player.elf_sha256) == ("ota_0", "Squeezelite-ESP32", None)
    assert player.compiled == "Dec 26 2025 21:00:37"


@needs_samples
def test_the_real_build_with_the_table_of_2026(tmp_path: Path) -> None:
    """recovery grew to 0x149a60 bytes while its partition shrank to 0x130000."""
    table = tiny_firmware.table((SAMPLES / "partitions.2026-refactoring.csv").read_text())
    build = SAMPLES / "squeezelite-4.3-i2s-16" / "build"
    files = {name: (build / name).read_bytes() for name in ("bootloader/bootloader.bin", "squeezelite.bin")}
    recovery = (build / "recovery.bin").read_bytes().ljust(0x149A60, b"\xff")
    listing = b"0x1000 bootloader/bootloader.bin\n0x8000 t.bin\n0x10000 recovery.bin\n0x140000 squeezelite.bin"
    tiny_firmware.write(tmp_path, files | {"t.bin": table, "recovery.bin": recovery, "flash_args": listing})
    with pytest.raises(BrokenBuild, match=r"recovery.bin is too large .* 1350240 bytes \(0x149a60\), .*0x130000"):
        load(tmp_path, tmp_path / "work")


@needs_samples
def test_the_example_listings_name_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("flasher_args.example.json", "esp-web-tools-manifest.example.json"):
        target = tmp_path / name / ("flasher_args.json" if "flasher" in name else "manifest.json")
        tiny_firmware.write(target.parent, {target.name: (SAMPLES / name).read_bytes()})
        with pytest.raises(BrokenBuild, match=r"is listed in .* but is not in the build"):
            load(target.parent, tmp_path / "work")


def inspect(*arguments: str) -> str:
    result = CliRunner().invoke(command, ["inspect", *arguments], catch_exceptions=False, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.output


def test_inspect_as_a_table(tmp_path: Path) -> None:
    folder = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard())
    output = inspect(str(folder))
    for words in ("flasher_args.json for esp32", "0x10000", "tiny.bin", "factory", "kept: nvs, phy_init", "will boot"):
        assert words in output


def test_inspect_as_json(tmp_path: Path) -> None:
    folder = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard())
    facts = json.loads(inspect(str(folder), "--json"))
    assert list(facts) == [
        *("format", "chip", "mode", "freq", "size", "bytes_total", "flash_needed", "needs_psram", "min_revision"),
        *("max_revision", "erase_all", "parts", "partitions", "apps", "kept", "erased", "notes"),
    ]
    assert list(facts["parts"][0]) == ["offset", "size", "purpose", "partition", "name", "sha256"]
    assert str(tmp_path) not in json.dumps(facts), "the plan must not tell where it was made"


def test_inspect_takes_the_flash_settings_of_hut_yml(tmp_path: Path) -> None:
    folder = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard())
    (tmp_path / "hut.yml").write_text("flash: {erase: [settings]}\n")
    facts = json.loads(inspect(str(folder), "--json", "--hut", str(tmp_path / "hut.yml")))
    assert facts["erased"] == ["settings"]


def test_inspect_refuses_an_unknown_chip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="esp99"):
        inspect(str(tmp_path), "--chip", "esp99")


def test_a_setting_that_esptool_does_not_know(tmp_path: Path) -> None:
    folder = tiny_firmware.write(tmp_path / "build", tiny_firmware.standard())
    with pytest.raises(HutCiError, match=r"flash\.mode is 'fast'"):
        load(folder, tmp_path / "work", FlashSettings(mode="fast"))
