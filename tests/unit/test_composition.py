"""What the command line makes of words that could lead elsewhere, or to no end."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hut_ci.cli import composition
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
