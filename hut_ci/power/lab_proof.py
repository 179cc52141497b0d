"""Put a slot's proof into lab.yml, keeping everything else of the file as its owner wrote it."""

from __future__ import annotations

from dataclasses import replace

import yaml

from hut_ci import config
from hut_ci.config.lab_write import AS_ROOT, lab_text
from hut_ci.errors import ConfigError
from hut_ci.model import Lab


def with_proof(text: str, slot_id: str, proof: str) -> str:
    """lab.yml's `text` with `proof` in the slot's power; ConfigError where it has no power to put it into."""
    power = _child(_child(_child(yaml.compose(text, Loader=yaml.SafeLoader), "slots"), slot_id), "power")
    if isinstance(power, yaml.ScalarNode):  # the short form: `power: switch.bench_1`
        return _replaced(text, power, f"{{entity: {power.value}, proof: {proof}}}")
    if not isinstance(power, yaml.MappingNode) or not power.value:
        raise _by_hand(slot_id, proof)
    old = _child(power, "proof")
    if old is not None:
        return _replaced(text, old, proof)
    first = power.value[0][0].start_mark
    rest = ", " if power.flow_style else "\n" + " " * first.column
    return f"{text[: first.index]}proof: {proof}{rest}{text[first.index :]}"


def write_proof(lab: Lab, slot_id: str, proof: str) -> None:
    """Change the file that `lab` was read from, by rename. Raises ConfigError unless exactly this one value changes."""
    with lab_text(lab.path, "", _by_its_owner(lab, slot_id)) as (before, write):
        write(_changed(lab, before, slot_id, proof))


def refuse_unwritable(lab: Lab, slot_id: str) -> None:
    """Raises ConfigError where `write_proof` would: to be asked before any power is cut for a proof."""
    with lab_text(lab.path, "", _by_its_owner(lab, slot_id)) as (before, _write):
        for proof in ("port", "banner", "none"):
            _changed(lab, before, slot_id, proof)


def _changed(lab: Lab, before: str, slot_id: str, proof: str) -> str:
    text = with_proof(before, slot_id, proof)
    wanted = tuple(
        replace(slot, power=replace(slot.power, proof=proof)) if slot.id == slot_id else slot for slot in lab.slots
    )
    if config.lab_from_text(text, lab.path).slots != wanted:
        raise _by_hand(slot_id, proof)
    return text


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _replaced(text: str, node: yaml.Node, new: str) -> str:
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


def _by_its_owner(lab: Lab, slot_id: str) -> str:
    """What to do where lab.yml is not ours to change. Not sudo where a token is needed: root is refused another's."""
    slot = lab.slot(slot_id)
    if slot is None or not slot.power.entity or lab.home_assistant is None or lab.home_assistant.token_file is None:
        return AS_ROOT
    return (
        "call it without --write, as the user whose token `token_file` is; then put what it finds under "
        f"{slot_id}'s power as the owner of the file: `sudoedit {lab.path}`, `proof: port`, `banner` or `none`"
    )


def _by_hand(slot_id: str, proof: str) -> ConfigError:
    return ConfigError(
        f"lab.yml is written in a way that hut-ci does not change for {slot_id}",
        why="Its power is shared with other slots by an anchor, or is missing.",
        todo=f"Write `proof: {proof}` under {slot_id}'s power by hand.",
    )
