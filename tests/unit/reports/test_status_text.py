"""The line beside the commit."""

import copy
import json
from pathlib import Path

import pytest
from hostile import TEXTS
from report_samples import RUNS

from hut_ci.reports.status_text import GITHUB_LIMIT, GITLAB_LIMIT, full_status, status_text

EXPECTED = {
    "pass": "pass: boots hello 1.2.0 from factory in 1.4 s",
    "recovered": "pass (recovered, 1 power cycle): boots hello 1.2.0 from factory in 1.4 s",
    "flaky": "pass (flaky, 1 of 2): boots hello 1.2.0 from factory in 1.4 s",
    "fail": "panic: app_main (LoadProhibited) after 0.4 s",
    "error": "lab error: the board stayed silent after reset (no golden image to tell who is to blame)",
    "timed_out": "lab error: the run's time limit of 60 s ended while testing",
    "config": "configuration error: hut.yml: unknown key `exepct`",
    "blocked": "blocked: hut-01 is held by ada since 15:02 (pid 4711)",
    "cancelled": "cancelled by SIGTERM",
    "killed": "lab error: the run was killed during flash",
}


def recorded(name: str) -> dict:
    return json.loads((RUNS / f"{name}.json").read_text())


@pytest.mark.parametrize("path", sorted(RUNS.iterdir()), ids=lambda path: path.stem)
def test_sentence(path: Path) -> None:
    document = json.loads(path.read_text())
    assert status_text(document) == EXPECTED[path.stem] == document["human_summary"]


@pytest.mark.parametrize("limit", [GITHUB_LIMIT, GITLAB_LIMIT, 20])
@pytest.mark.parametrize("text", TEXTS)
def test_limits(text: str, limit: int) -> None:
    """Security 13: 140 characters on GitHub, 255 on GitLab, one line, nothing invisible, never empty."""
    document = recorded("fail")
    document["hardware"]["verdict"]["sentence"] = text
    shown = status_text(document, limit)
    assert 0 < len(shown) <= limit
    assert shown.isprintable()
    assert shown != "failed"


def test_cut_shows_an_ellipsis() -> None:
    document = recorded("fail")
    document["hardware"]["verdict"]["sentence"] = "panic: " + "y" * 300
    assert status_text(document).endswith("y…")
    assert len(status_text(document)) == 140
    assert len(status_text(document, 255)) == 255


def test_recovered_and_flaky_count_their_steps() -> None:
    document = recorded("recovered")
    event = document["hardware"]["recovery_events"][0]
    steps = [("reset", False), ("power_cycle", False), ("retry", False), ("retry", False), ("reset", True)]
    document["hardware"]["recovery_events"] += [{**event, "step": step, "restoring": last} for step, last in steps]
    document["hardware"]["verdict"]["flaky"] = True
    assert full_status(document).startswith("pass (flaky, 1 of 3; recovered, 1 reset, 2 power cycles): ")


def test_missing_sentence_names_the_evidence() -> None:
    document = recorded("error")
    document["hardware"]["verdict"]["sentence"] = ""
    assert status_text(document) == "lab error: silence, and no sentence about it"


def test_report_of_another_kind_of_job() -> None:
    seed = json.loads((RUNS.parent / "seed" / "ws2.report.v1.json").read_text())
    assert status_text(seed) == "success: Infra-role smoke command completed successfully."
    assert status_text({**copy.deepcopy(seed), "status": "failed", "human_summary": ""}) != "failed"
