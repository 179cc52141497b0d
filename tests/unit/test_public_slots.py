"""What leaves the lab about its slots, and what a gate makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hut_ci import config, contracts
from hut_ci.cli import hut_ci
from hut_ci.errors import ConfigError
from hut_ci.stages.public_slots import slots_of, told

EXAMPLE = Path(__file__).parents[2] / "examples" / "slots.json"
LAB = """\
lab: kitchen
home_assistant: {url: "http://secret.local:8123", token_file: secret/hass-token}
redact: ["secret-ssid"]
slots:
  hut-01:
    serial: /dev/serial/by-id/usb-secret-serial
    power: switch.secret_lamp
    facts: {chip: esp32, revision: v3.1, flash: 4MB, psram: 4MB, mac: "24:6f:28:0a:1b:2c", tags: [dac]}
  hut-02: {serial: "rfc2217://secret.host:4000", quarantined: "secret: lies under the bed of Anna"}
"""
SECRETS = ("secret", "24:6f", "Anna", "8123", "4000", "switch")


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yml"
    path.write_text(LAB)
    return path


def test_nothing_that_leads_to_a_board_leaves_the_lab(lab_file: Path) -> None:
    public = CliRunner().invoke(hut_ci, ["slots", "list", "--lab", str(lab_file), "--public", "--json"])
    private = CliRunner().invoke(hut_ci, ["slots", "list", "--lab", str(lab_file), "--json"])
    assert (public.exit_code, private.exit_code) == (0, 0)
    assert [word for word in SECRETS if word in public.output] == []
    assert "secret" in private.output, "the words would be seen"
    assert contracts.check(json.loads(public.output), "hut.slots.v1") == []


def test_what_is_told_is_what_is_understood(lab_file: Path) -> None:
    lab = config.load_lab(lab_file, {})
    first, second = slots_of(json.dumps(told(lab)), "slots.json")
    known = lab.slots[0].facts
    assert (first.id, first.label) == ("hut-01", "esp32-hut-01")
    assert (first.facts.chip, first.facts.revision, first.facts.flash, first.facts.psram, first.facts.tags) == (
        known.chip, known.revision, known.flash, known.psram, known.tags,
    )  # fmt: skip
    assert first.quarantined is None
    assert second.quarantined == "set aside by its operator"


def test_public_is_for_programs(lab_file: Path) -> None:
    answer = CliRunner().invoke(hut_ci, ["slots", "list", "--lab", str(lab_file), "--public"])
    assert "--public without --json" in str(answer.exception)


def test_the_example_is_such_a_list() -> None:
    assert [slot.id for slot in slots_of(EXAMPLE.read_bytes(), "slots.json")] == ["hut-01", "hut-02"]


def slot(**more: Any) -> dict[str, Any]:
    return {"id": "hut-01", "label": "esp32-hut-01", "chip": "esp32", **more}


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([slot(label="self-hosted, x")], "label"),
        ([slot(label="${{ github.token }}")], "label"),
        ([slot(id="../x")], "id"),
        ([slot(serial="/dev/ttyUSB0")], "serial"),
        ([slot(tags=["$(id)"])], "tags"),
        ([slot(), slot(label="other")], "two slots have the id hut-01"),
        ([slot(), slot(id="hut-02", label="ESP32-hut-01")], "two slots have the label esp32-hut-01"),
    ],
)
def test_a_list_that_says_something_else_is_refused(entries: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        slots_of(json.dumps({"schema_version": "hut.slots.v1", "slots": entries}), "slots.json")


@pytest.mark.parametrize("text", ["", "[" * 100_000, "{}", "null", b"\xff"])
def test_what_is_no_list_is_refused(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match="list of slots"):
        slots_of(text, "slots.json")
