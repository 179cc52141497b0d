"""Which variant runs on which slot: what was asked for by name, and what fits. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hut_ci.errors import DoesNotFit, UsageError
from hut_ci.firmware.fit import unmet
from hut_ci.model import Project, Slot, Variant

MOST_PAIRS = 64
"""Of one request (hut.request.v1)."""

Choice = tuple[Slot, Variant]


def slots_named(slots: Sequence[Slot], name: str) -> list[Slot]:
    """The slots whose id or label is `name`; else those of that chip; else those with that tag."""
    for matches in (
        [slot for slot in slots if name in (slot.id, slot.label)],
        [slot for slot in slots if name == slot.facts.chip],
        [slot for slot in slots if name in slot.facts.tags],
    ):
        if matches:
            return matches
    return []


def names_of(slots: Sequence[Slot]) -> list[str]:
    """Every name that `slots_named` knows, sorted."""
    return sorted({name for slot in slots for name in (slot.id, slot.label, slot.facts.chip, *slot.facts.tags)})


def select(slots: Sequence[Slot], project: Project, wanted: Sequence[str]) -> list[Choice]:
    """Every wanted variant on every wanted slot that it fits, in the order of the lab and of hut.yml; never empty.

    `wanted` names slots (by id, label, chip or tag) and variants; where it names no slot, or no variant, all of them
    are meant. Slots that are set aside are among them: the answer names them. Raises UsageError for a name that
    neither knows and for too many, DoesNotFit with what each slot lacks.
    """
    boards, variants = _wanted(slots, project, wanted)
    choices = [(slot, variant) for slot in boards for variant in variants if not unmet(slot.facts, variant.needs)]
    if not choices:
        raise _nothing(boards, variants)
    if len(choices) > MOST_PAIRS:
        raise UsageError(
            f"{len(choices)} runs were asked for at once",
            why=f"{len(variants)} variants and {len(boards)} slots; one request has room for {MOST_PAIRS}",
            todo="name the slots or the variants that are meant",
        )
    return choices


def _wanted(slots: Sequence[Slot], project: Project, wanted: Sequence[str]) -> tuple[list[Slot], list[Variant]]:
    if not slots:
        raise UsageError("the lab has no slot", why="its list is empty", todo="add one on the lab host: `slots add`")
    boards, variants = list[Slot](), list[Variant]()
    for name in wanted:
        named = slots_named(slots, name)
        built = [variant for variant in project.variants if variant.name == name]
        if not named and not built:
            raise _unknown(slots, project, name)
        boards += named
        variants += built
    return (
        [slot for slot in slots if slot in boards] or list(slots),
        [variant for variant in project.variants if variant in variants] or list(project.variants),
    )


def _unknown(slots: Sequence[Slot], project: Project, name: str) -> UsageError:
    known = [*names_of(slots), *(variant.name for variant in project.variants)]
    near = difflib.get_close_matches(name, known, 1)
    return UsageError(
        f"no slot, label, chip, tag or variant is called {name[:64]!r}{f'; did you mean {near[0]!r}?' if near else ''}",
        why=f"known are {', '.join(dict.fromkeys(known[:MOST_PAIRS]))}",
        todo="name one of these",
    )


def _nothing(slots: Sequence[Slot], variants: Sequence[Variant]) -> DoesNotFit:
    lacks = [f"{slot.id}, {variant.name}: {_lack(slot, variant)}" for slot in slots for variant in variants]
    more = f"; and {len(lacks) - 6} more" if len(lacks) > 6 else ""
    return DoesNotFit(
        f"no board fits: {'; '.join(lacks[:6])}{more}",
        why="The variants need another kind of board, or the slots' facts in lab.yml are not right.",
        todo="Compare `needs:` in hut.yml with `hut-ci slots list`.",
    )


def _lack(slot: Slot, variant: Variant) -> str:
    return ", ".join(unmet(slot.facts, variant.needs))
