"""docs/lanes.md lists the commands of each lane as the program knows them, and its message is the program's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from hut_ci.cli.lanes import AT_THE_LAB, LANES, WITHOUT_A_BOARD, refuse_in_upstream
from hut_ci.errors import Refused
from hut_ci.reports.json_document import problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "lanes.md").read_text("utf-8")


def test_it_lists_the_commands_of_each_lane() -> None:
    """LANE-2, LANE-3, LANE-6: which command may run where is documented, completely."""
    table = PAGE.partition("| needs no board | is for a lab |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.+`) \| (`.+`) \|$", table, re.M)
    without, at_the_lab = ({name for row in rows for name in re.findall(r"`([^`]+)`", row[side])} for side in (0, 1))
    assert without == set(WITHOUT_A_BOARD)
    assert at_the_lab == set(AT_THE_LAB)
    assert set(re.findall(r"^\| `([a-z-]+)` \| ", PAGE, re.M)) >= set(LANES)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("role", ["arch", "infra", "runner"])
def test_no_role_follows_from_a_lane(lane: str, role: str) -> None:
    """LANE-7: a report may say any of one with any of the other, and nothing else for either."""
    document = json.loads((ROOT / "tests/data/reports/runs/pass.json").read_text("utf-8"))
    document["agent_role"] = role
    document["hardware"]["lane"] = lane
    assert problems(document) == []
    assert problems({**document, "agent_role": lane}) != []


def test_its_message_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    monkeypatch.setenv("HUT_CI_LANE", yaml.safe_load(block)["env"]["HUT_CI_LANE"])
    with pytest.raises(Refused) as refused:
        refuse_in_upstream("power cycle")
    assert f"hut-ci: {refused.value}" in PAGE
    assert f"exit code {refused.value.exit_code}" in PAGE
