"""Does this plan fit this board: what the images demand, what the project asks, what the lab knows. Pure."""

from __future__ import annotations

from hut_ci.errors import DoesNotFit
from hut_ci.firmware.chips import chip_name
from hut_ci.model import Facts, FlashPlan, Needs
from hut_ci.units import format_size

NO_NEEDS = Needs()


def fit(plan: FlashPlan, facts: Facts, needs: Needs = NO_NEEDS) -> None:
    """Raises DoesNotFit with everything that does not match.

    A fact that the lab does not know (None) never refuses by itself; a need of the project that asks for it does.
    """
    problems = [*_chip(plan, facts, needs), *_revision(plan, facts), *_flash(plan, facts, needs)]
    problems += [*_psram(plan, facts, needs), *_tags(facts, needs)]
    if not problems:
        return
    unknown = _unknown(facts, needs)
    raise DoesNotFit(
        "; ".join(problems),
        why="The build is for another kind of board, or the slot's facts in lab.yml are not right.",
        todo=f"State {' and '.join(unknown)} in the slot's facts in lab.yml."
        if unknown
        else "Choose a slot that fits (`hut-ci slots list`), build for this one, or correct its facts in lab.yml.",
    )


def unmet(facts: Facts, needs: Needs) -> list[str]:
    """What a board lacks of a variant's needs, before there is a build to look at; empty where it fits."""
    needed, board = (chip_name(chip or "") or chip for chip in (needs.chip, facts.chip))
    found = [f"the variant needs {needs.chip}, the board is {facts.chip}"] if needed and needed != board else []
    found += _at_least("flash", needs.flash, facts.flash) if needs.flash is not None else []
    found += _at_least("PSRAM", needs.psram, facts.psram) if needs.psram is not None else []
    return [*found, *_tags(facts, needs)]


def _chip(plan: FlashPlan, facts: Facts, needs: Needs) -> list[str]:
    found = []
    needed, board = (chip_name(chip or "") or chip for chip in (needs.chip, facts.chip))
    if needed and needed != plan.chip:
        found.append(f"the variant needs {needs.chip}, the build is for {plan.chip}")
    if plan.chip != board:
        found.append(f"the build is for {plan.chip}, the board is {facts.chip}")
    return found


def _revision(plan: FlashPlan, facts: Facts) -> list[str]:
    if facts.revision is None:
        return []
    found = []
    if plan.min_revision and facts.revision < plan.min_revision:
        found.append(
            f"the images demand chip revision {_v(plan.min_revision)} or newer, the board has {_v(facts.revision)}"
        )
    if plan.max_revision and facts.revision > plan.max_revision:
        found.append(
            f"the images demand chip revision {_v(plan.max_revision)} or older, the board has {_v(facts.revision)}"
        )
    return found


def _v(revision: tuple[int, int]) -> str:
    return f"v{revision[0]}.{revision[1]}"


def _flash(plan: FlashPlan, facts: Facts, needs: Needs) -> list[str]:
    found = []
    if facts.flash is not None and plan.flash_needed > facts.flash:
        found.append(
            f"the build needs {plan.flash_needed} bytes of flash ({plan.flash_needed:#x}),"
            f" the board has {format_size(facts.flash)}"
        )
    if needs.flash is not None:
        found += _at_least("flash", needs.flash, facts.flash)
    return found


def _psram(plan: FlashPlan, facts: Facts, needs: Needs) -> list[str]:
    found = []
    if plan.needs_psram and facts.psram == 0:
        found.append("the application aborts without PSRAM, the board has none")
    if needs.psram is not None:
        found += _at_least("PSRAM", needs.psram, facts.psram)
    return found


def _at_least(what: str, need: int, fact: int | None) -> list[str]:
    if need == 0 or (fact is not None and fact >= need):
        return []
    if fact is None:
        return [f"the variant needs {format_size(need)} of {what}, the lab does not know how much the board has"]
    return [f"the variant needs {format_size(need)} of {what}, the board has {format_size(fact) if fact else 'none'}"]


def _tags(facts: Facts, needs: Needs) -> list[str]:
    missing = sorted(needs.tags - facts.tags)
    return (
        [f"the variant needs the tag {', '.join(missing)}, the board has {', '.join(sorted(facts.tags)) or 'none'}"]
        if missing
        else []
    )


def _unknown(facts: Facts, needs: Needs) -> list[str]:
    asked = (("flash", needs.flash, facts.flash), ("psram", needs.psram, facts.psram))
    return [name for name, need, fact in asked if need and fact is None]
