"""Which slots cannot be served, as far as that is known before a job queues for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hut_ci.model import Facts, Pair, Slot
from hut_ci.reports.status_text import GITHUB_LIMIT
from hut_ci.stages.serving import Runner, blocked_by, evidence
from hut_ci.stages.verdict import sentence

SLOT = Slot("hut-01", "ESP32-hut-01", (), Facts("esp32"))
ASIDE = Slot("hut-01", "ESP32-hut-01", (), Facts("esp32"), quarantined="set aside by its operator")


def runner(*labels: str, online: bool = True) -> Runner:
    return Runner(frozenset(labels), online)


@pytest.mark.parametrize(
    ("slot", "runners", "expected"),
    [
        (SLOT, None, None),
        (SLOT, [], "runner_absent"),
        (SLOT, [runner("self-hosted", "linux", "esp32-hut-01")], None),
        (SLOT, [runner("self-hosted", "esp32-hut-02")], "runner_absent"),
        (SLOT, [runner("esp32-hut-01")], "runner_absent"),
        (SLOT, [runner("self-hosted", "esp32-hut-01", online=False)], "runner_offline"),
        (
            SLOT,
            [runner("self-hosted", "esp32-hut-01", online=False), runner("self-hosted", "esp32-hut-01")],
            None,
        ),
        (ASIDE, None, "slot_quarantined"),
        (ASIDE, [], "slot_quarantined"),
    ],
)
def test_what_blocks_a_slot(slot: Slot, runners: Sequence[Runner] | None, expected: str | None) -> None:
    assert blocked_by(slot, runners) == expected


@pytest.mark.parametrize("why", ["slot_quarantined", "runner_absent", "runner_offline"])
def test_the_status_names_what_is_meant_and_fits(why: str) -> None:
    pair = Pair("hut-01", "hardware / hut-01", label="l" * 64, blocked=why)
    text = sentence(evidence(pair))
    assert text.startswith("blocked: ")
    assert ("hut-01" if why == "slot_quarantined" else pair.label) in text
    assert len(text) <= GITHUB_LIMIT
