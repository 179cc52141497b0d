"""security 25, 26: a hostile working directory. Whatever lies there is not our lab, our code or our tools' settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from console_script import HutCi

from hut_ci.config import load_project
from hut_ci.config.load import SYSTEM_LAB
from hut_ci.deadline import Deadline
from hut_ci.errors import ConfigError
from hut_ci.esptool.call import Esptool, console_script

LAB = """\
slots:
  hut-01:
    serial: /dev/serial/by-id/usb-one
    power: {{command: {{on: [{relay}], off: [{relay}], state: [{relay}]}}}}
"""
PLANT = "import pathlib\npathlib.Path({mark!r}).touch()\n"
SHADOWS = ("hut_ci", "click", "rich", "yaml", "sitecustomize", "usercustomize", "encodings", "runpy", "importlib")


@pytest.mark.real
@pytest.mark.skipif(SYSTEM_LAB.exists(), reason="this machine is a lab")
def test_security_25_a_lab_file_of_the_workspace_is_not_read(hut_ci: HutCi, tmp_path: Path) -> None:
    """With its control: named by the operator, the same file runs its program."""
    mark, relay = tmp_path / "switched", tmp_path / "relay"
    relay.write_text(f"#!/bin/sh\ntouch '{mark}'\necho on\n")
    relay.chmod(0o755)
    for name in ("lab.yml", "hut-ci/lab.yml", ".config/hut-ci/lab.yml", "etc/hut-ci/lab.yml", ".hut-ci/lab.yml"):
        planted = hut_ci.folder / name
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.write_text(LAB.format(relay=relay))
    refused = hut_ci("power", "status", "hut-01")
    assert (refused.code, "no lab.yml" in refused.stderr, mark.exists()) == (2, True, False), refused
    hut_ci.environ["HUT_CI_LAB"] = "lab.yml"
    relative = hut_ci("power", "status", "hut-01")
    assert (relative.code, "absolute" in relative.stderr, mark.exists()) == (2, True, False), relative
    named = hut_ci("power", "status", "hut-01", "--lab", "lab.yml")
    assert (named.code, mark.exists()) == (0, True), named


@pytest.mark.parametrize(
    "key",
    [
        "commands: {{rebuild: [{relay}]}}",
        "rebuild: {relay}",
        "suite: {{command: {relay}}}",
        "flash: {{before: {relay}}}",
        "artifact: {{command: {relay}}}",
        "slots: {{hut-01: {{power: {{command: {{on: [{relay}]}}}}}}}}",
    ],
)
def test_security_25_a_project_file_has_no_word_for_a_command(key: str, tmp_path: Path) -> None:
    """Its schema is closed at every level; examples/hut/invalid has more of what it refuses."""
    path = tmp_path / "hut.yml"
    path.write_text(key.format(relay="/bin/true") + "\n")
    with pytest.raises(ConfigError, match=r"not known|unknown|not a key|no such"):
        load_project(path)


def test_security_26_no_module_of_the_workspace_is_imported(hut_ci: HutCi, tmp_path: Path) -> None:
    """With its control: `python -m hut_ci` would run what stands in the working directory."""
    mark = tmp_path / "imported"
    for name in SHADOWS:
        (hut_ci.folder / f"{name}.py").write_text(PLANT.format(mark=str(mark)))
    (hut_ci.folder / "hut.yml").write_text("variants: {default: {needs: {chip: esp32}}}\n")
    (hut_ci.folder / "build").mkdir()
    for argv in (["--version"], ["firmware", "inspect", "build"]):
        answer = hut_ci(*argv)
        assert answer.code in (0, 2), answer
        assert not mark.exists(), argv
    argv = [sys.executable, "-m", "hut_ci", "--version"]
    subprocess.run(argv, cwd=hut_ci.folder, env=hut_ci.environ, capture_output=True, timeout=60, check=False)
    assert mark.exists(), "nothing was planted where a careless start would find it"


def test_security_26_esptool_reads_no_settings_of_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real esptool, with its control: started in that folder it says that it takes them."""
    for name in ("esptool.cfg", "setup.cfg", "tox.ini"):
        (tmp_path / name).write_text("[esptool]\ncustom_reset_sequence = R1|W9\n")
    monkeypatch.chdir(tmp_path)
    careless = [console_script(), "--port", "/dev/null", "flash-id"]
    said = subprocess.run(careless, capture_output=True, text=True, timeout=60, check=False).stdout
    assert f"custom configuration from {tmp_path}" in said
    ended = Esptool().identify("/dev/null", deadline=Deadline(60), log=tmp_path / "log").finished
    assert "esptool v" in ended.output
    assert "custom configuration" not in ended.output
