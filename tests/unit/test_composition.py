"""What the command line makes of words that could lead elsewhere, or to no end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hut_ci.cli import composition
from hut_ci.cli.durations import within_job
from hut_ci.errors import UsageError
from hut_ci.model import Lab

LAB = Lab("lab", Path("/nowhere/locks"), Path("/nowhere/state"), (), Path("/nowhere/lab.yml"))
ASKED = dict.fromkeys(("hut", "build", "variant", "commit", "repository", "run_url", "limit"))


@pytest.mark.parametrize("slot", ["../../x", "/etc", "a/b", "..", "\n", ""])
def test_a_slot_does_not_lead_out_of_a_folder(slot: str) -> None:
    name = composition.file_name(slot)
    assert name
    assert (Path("/out") / name).resolve().parent == Path("/out").resolve()


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("option", ["wait", "limit"])
def test_a_time_without_end_is_refused(option: str, seconds: float) -> None:
    """Every wait has a deadline; `nan` compares as never expired."""
    with pytest.raises(UsageError, match=f"--{option}"):
        composition.order(LAB, "hut-01", {**ASKED, "wait": 0.0, option: seconds})


@pytest.mark.parametrize(
    ("timeout", "fits"), [("1801", True), ("1800", False), ("600", False), ("", True), ("1h", True)]
)
def test_a_limit_longer_than_its_job_is_refused(timeout: str, fits: bool) -> None:
    """GitLab says how long it lets a job run; a run that is ended from outside is only a second best."""
    if fits:
        assert within_job(1800.0, {"CI_JOB_TIMEOUT": timeout}) == 1800.0
        return
    with pytest.raises(UsageError, match=f"GitLab ends after {timeout} s"):
        within_job(1800.0, {"CI_JOB_TIMEOUT": timeout})
    assert within_job(None, {"CI_JOB_TIMEOUT": timeout}) is None, "the lab's own limit is for any job"
