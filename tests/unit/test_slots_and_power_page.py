"""docs/slots-and-power.md says what is so, and the systemd units that it names can be used."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import click
import pytest

from hut_ci import config
from hut_ci.cli import hut_ci
from hut_ci.stages.power_results import RESULTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "slots-and-power.md").read_text("utf-8")
UNITS = ROOT / "examples" / "systemd"
LABS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def test_every_detail_of_a_power_result_is_in_its_table() -> None:
    """WS9-5, WS9-7: documented values, the program's own."""
    rows = re.findall(r"^\| `(\w+)` \| (ok|timeout|ha_error) \| .* \| ?(.*) \|$", PAGE, re.M)
    assert {detail: (result, retried.startswith("yes")) for detail, result, retried in rows} == RESULTS


@pytest.mark.parametrize("text", LABS, ids=lambda text: text.splitlines()[0][:30])
def test_its_lab_files_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text(text)
    (slot,) = config.load_lab(path, {}).slots
    assert slot.power.backend in ("home_assistant", "command")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('{"POWER":"ON"}', "on"),
        ('{"POWER":"OFF"}', "off"),
        ('{"id":0, "output": true, "apower": 3.1}', "true"),
        ('{"id":0,"output":false}', "false"),
        ("Current status for hub 1-2\n  Port 1: 0103 power enable connect", "on"),
        ("Current status for hub 1-2\n  Port 1: 0000 off", "off"),
    ],
)
def test_its_state_commands_understand_the_plugs(said: str, words: str, tmp_path: Path) -> None:
    """The answers of uhubctl, Tasmota and Shelly, as their manuals show them, through the one-liners of the page."""
    program = "cmnd" if "POWER" in said else "Switch.GetStatus" if "output" in said else "uhubctl"
    lab = next(text for text in LABS if program in text)
    path = tmp_path / "lab.yml"
    path.write_text(lab)
    argv = config.load_lab(path, {}).slots[0].power.command["state"]
    for name in ("curl", "uhubctl"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {shlex.quote(said)}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(argv, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1].lower() == words


def test_its_commands_exist() -> None:
    named = re.findall(r"^    hut-ci (.+?)(?:  +#.*)?$", PAGE, re.M)
    assert len(named) > 10
    for line in named:
        command: click.Command = hut_ci
        for word in shlex.split(line):
            if not isinstance(command, click.Group):
                break
            found = command.get_command(click.Context(command), word)
            assert found is not None, line
            command = found


def test_topology_and_locks_are_described() -> None:
    """WS8-1, WS8-11: labels, locks, and that hardware is never a required check."""
    for words in ("esp32-hut-01", "lock_dir", "flock", "never a *required* check", "Two slots are two locks"):
        assert words in PAGE


def test_the_timer_runs_a_command_that_exists() -> None:
    service, timer = (_unit(f"hut-ci-power-repair.{kind}") for kind in ("service", "timer"))
    program, *words = shlex.split(service["Service"]["ExecStart"])
    assert (Path(program).is_absolute(), words) == (True, ["power", "repair"])
    assert service["Service"]["Type"] == "oneshot"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert {"OnBootSec", "OnUnitInactiveSec"} <= set(timer["Timer"])


def test_the_timer_can_run_the_switches_that_are_programs() -> None:
    """They need a folder of their own, and ProtectSystem=strict leaves no other one; one that hangs ends the timer."""
    service = _unit("hut-ci-power-repair.service")["Service"]
    assert service["ProtectSystem"] == "strict"
    assert f"TMPDIR=/run/{service['RuntimeDirectory']}" in service["Environment"].split()
    assert service["TimeoutStartSec"] == "15min"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/local/bin/hut-ci", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    argv = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert "hut-ci" not in done.stderr, done.stderr


def _unit(name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capitals
    parser.read_string((UNITS / name).read_text("utf-8"))
    return parser
