"""Does a plan fit a board: what the images demand, what the project needs, what the lab knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hut_ci.errors import DoesNotFit
from hut_ci.firmware import fit
from hut_ci.model import Facts, FlashPlan, Needs

MB = 1 << 20
PLAN = FlashPlan(
    parts=(), chip="esp32", source_format="x", flash_needed=4 * MB, min_revision=(1, 0), max_revision=(3, 99)
)
BOARD = Facts(chip="esp32", revision=(3, 1), flash=4 * MB, psram=0, tags=frozenset({"dac", "lcd"}))


@pytest.mark.parametrize(
    ("facts", "needs"),
    [
        (BOARD, Needs()),
        (Facts(), Needs()),
        (Facts(), Needs(chip="esp32", flash=0, psram=0)),
        (replace(BOARD, revision=(1, 0)), Needs(flash=4 * MB)),
        (replace(BOARD, revision=(3, 99)), Needs(tags=frozenset({"dac"}))),
        (replace(BOARD, flash=16 * MB, psram=8 * MB), Needs(psram=4 * MB, flash=16 * MB)),
    ],
)
def test_fits(facts: Facts, needs: Needs) -> None:
    fit(PLAN, facts, needs)


@pytest.mark.parametrize(
    ("facts", "needs", "words"),
    [
        (replace(BOARD, chip="esp32s3"), Needs(), "the build is for esp32, the board is esp32s3"),
        (BOARD, Needs(chip="esp32c3"), "the variant needs esp32c3, the build is for esp32"),
        (replace(BOARD, revision=(0, 1)), Needs(), "chip revision v1.0 or newer, the board has v0.1"),
        (replace(BOARD, revision=(4, 0)), Needs(), "chip revision v3.99 or older, the board has v4.0"),
        (replace(BOARD, flash=2 * MB), Needs(), r"needs 4194304 bytes of flash \(0x400000\), the board has 2MB"),
        (BOARD, Needs(flash=8 * MB), "needs 8MB of flash, the board has 4MB"),
        (BOARD, Needs(psram=4 * MB), "needs 4MB of PSRAM, the board has none"),
        (replace(BOARD, psram=2 * MB), Needs(psram=4 * MB), "needs 4MB of PSRAM, the board has 2MB"),
        (BOARD, Needs(tags=frozenset({"dac", "sd", "eth"})), "needs the tag eth, sd, the board has dac, lcd"),
    ],
)
def test_does_not_fit(facts: Facts, needs: Needs, words: str) -> None:
    with pytest.raises(DoesNotFit, match=words) as caught:
        fit(PLAN, facts, needs)
    assert caught.value.exit_code == 2
    assert "lab.yml" in caught.value.todo


def test_an_application_that_aborts_without_psram() -> None:
    plan = replace(PLAN, needs_psram=True)
    fit(plan, replace(BOARD, psram=None))
    with pytest.raises(DoesNotFit, match="aborts without PSRAM"):
        fit(plan, BOARD)


def test_a_need_for_what_the_lab_does_not_know() -> None:
    with pytest.raises(DoesNotFit, match="the lab does not know") as caught:
        fit(PLAN, Facts(), Needs(flash=4 * MB, psram=2 * MB))
    assert "State flash and psram in the slot's facts" in caught.value.todo


def test_everything_that_does_not_match_is_said_at_once() -> None:
    with pytest.raises(DoesNotFit) as caught:
        fit(PLAN, replace(BOARD, chip="esp32s3", flash=MB), Needs(tags=frozenset({"eth"})))
    assert caught.value.what.count(";") == 2
