"""`hut-ci report`."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from report_samples import RUNS

from hut_ci.cli.report import command
from hut_ci.errors import ConfigError

FAIL = RUNS / "fail.json"
SEED = RUNS.parent / "seed" / "ws2.report.v1.json"


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def test_validate() -> None:
    assert "is a valid report" in call("validate", FAIL)
    assert "is a valid report" in call("validate", SEED)
    assert json.loads(call("validate", "--json", FAIL)) == []


def test_validate_refuses_with_the_place(tmp_path: Path) -> None:
    document = json.loads(FAIL.read_text())
    document["hardware"]["verdict"]["name"] = "green\x1b[2J"
    bad = tmp_path / "report.json"
    bad.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="not a valid report") as caught:
        call("validate", bad)
    assert "hardware.verdict.name" in caught.value.why
    assert "\x1b" not in caught.value.why
    with pytest.raises(ConfigError):
        call("show", bad)


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("markdown", "### ❌ fail: hut-01"),
        ("junit", "<?xml"),
        ("status", "panic: app_main"),
        ("text", "panic: app_main"),
    ],
)
def test_show(form: str, start: str) -> None:
    assert call("show", FAIL, "--format", form).startswith(start)


def test_show_junit_is_xml_and_status_has_a_limit() -> None:
    ET.fromstring(call("show", FAIL, "--format", "junit"))  # noqa: S314 (we wrote it ourselves)
    assert call("show", FAIL, "--format", "status", "--limit", "20") == "panic: app_main (Lo…\n"


def test_text_is_safe_in_a_ci_log(tmp_path: Path) -> None:
    """Security 12."""
    document = json.loads(FAIL.read_text())
    document["hardware"]["verdict"]["sentence"] = "::error::owned"
    document["hardware"]["attempts"][0]["suite"]["last_lines"] = ["::set-output name=a::b", "##[group]x", "\x1b[2J"]
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document))
    shown = call("show", path)
    assert not any(line.strip().startswith("::") or "##[" in line or "\x1b" in line for line in shown.splitlines())
    assert "set-output" in shown


def test_show_of_a_job_without_hardware() -> None:
    assert call("show", SEED).startswith("success: Infra-role smoke")
    with pytest.raises(ConfigError, match="cannot be shown as junit"):
        call("show", SEED, "--format", "junit")


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        call("validate", "/nonexistent/report.json")


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"], ["show", "--help"]])
def test_help_shows_an_example(arguments: list[str]) -> None:
    assert "hut-ci report" in call(*arguments)
