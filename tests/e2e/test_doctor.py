"""`hut-ci doctor` on a lab: what it finds, and that it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conftest import LabOf
from console_script import HutCi

from hut_ci.virtual.lab import VirtualLab
from hut_ci.virtual.openings import Openings


def findings(hut_ci: HutCi, lab: VirtualLab, *argv: object) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    answer = hut_ci("doctor", "--lab", lab.lab_yml, "--json", *argv)
    told = json.loads(answer.stdout)["lab"]
    return answer.code, {name: [(found["sign"], found["what"]) for found in group] for name, group in told.items()}


def missing(told: dict[str, list[tuple[str, str]]]) -> list[str]:
    return [what for group in told.values() for sign, what in group if sign == "missing"]


def edit(lab: VirtualLab, **slot: object) -> None:
    document = yaml.safe_load(lab.lab_yml.read_text())
    document["slots"]["hut-01"].update(slot)
    lab.lab_yml.write_text(yaml.safe_dump(document))


def test_a_lab_that_is_well(hut_ci: HutCi, lab_of: LabOf) -> None:
    lab = lab_of(2)
    code, told = findings(hut_ci, lab)
    assert (code, missing(told)) == (0, []), told
    assert {"programs", "lab.yml", "state folder", "locks", "ports", "power", "runners"} <= set(told)
    assert ("ok", "hut-01: switch.slot_1 is on") in told["power"]


def test_it_opens_no_port_switches_nothing_and_leaves_nothing(hut_ci: HutCi, lab_of: LabOf) -> None:
    lab = lab_of()
    before = sorted(path for path in lab.folder.rglob("*"))
    port = str((lab.folder / "dev" / "hut-01").resolve())
    seen = Openings(port)
    assert hut_ci("doctor", "--lab", lab.lab_yml).code == 0
    assert seen.read() == []
    Path(port).open("rb").close()
    assert seen.read(), "the watch sees an opening"
    seen.close()
    assert {event.name for event in lab.relay.events} == {"state"}
    assert sorted(path for path in lab.folder.rglob("*")) == before


def test_what_is_missing_is_named_with_what_to_do(hut_ci: HutCi, lab_of: LabOf) -> None:
    lab = lab_of(2)
    edit(lab, serial="/dev/serial/by-id/usb-none-if00", power={"entity": "switch.slot_9"})
    (lab.folder / "locks").rmdir()
    code, told = findings(hut_ci, lab)
    assert code == 2
    assert len(missing(told)) == 3, told
    answer = hut_ci("doctor", "--lab", lab.lab_yml)
    assert answer.stdout.count("MISSING") == 3
    assert answer.stdout.count("do: ") >= 3


@pytest.mark.real
@pytest.mark.parametrize("fault", ["unauthorized", "banned"])
def test_home_assistant_is_not_asked_again_where_it_would_ban(hut_ci: HutCi, lab_of: LabOf, fault: str) -> None:
    """The fault is there once: a second question would be answered."""
    code, told = findings(hut_ci, lab_of(2, relay_faults=[f"{fault}:1"]))
    assert code == 2
    assert not [what for _, what in told["power"] if " is on" in what], told
    assert len(missing(told)) == 1


def test_without_a_lab_the_rest_is_looked_at(hut_ci: HutCi) -> None:
    answer = hut_ci("doctor", "--lab", hut_ci.folder / "none.yml")
    assert (answer.code, "none.yml" in answer.stdout, "esptool v" in answer.stdout) == (2, True, True), answer


@pytest.mark.real
def test_names_from_a_runners_folder_command_no_ci(hut_ci: HutCi, lab_of: LabOf) -> None:
    folder = hut_ci.folder / "runner"
    folder.mkdir()
    name = "\n::error::forged\x1b[2J"
    (folder / ".runner").write_text(json.dumps({"agentName": name, "gitHubUrl": name}))
    answer = hut_ci("doctor", "--lab", lab_of().lab_yml, "--runner", folder)
    assert "begins every job" in answer.stdout
    assert "\x1b" not in answer.stdout
    assert not [line for line in answer.stdout.splitlines() if line.lstrip().startswith("::")]


def test_a_building_job_asks_no_relay(hut_ci: HutCi, lab_of: LabOf) -> None:
    lab = lab_of()
    hut_ci.environ["HUT_CI_LANE"] = "upstream"
    answer = hut_ci("doctor", "--lab", lab.lab_yml)
    assert (answer.code, "lane upstream" in answer.stderr) == (9, True), answer
    assert not lab.relay.events
