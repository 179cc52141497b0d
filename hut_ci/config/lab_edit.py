"""A new slot into the text of a lab.yml: what stands there, comments included, stays as it is. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from hut_ci.errors import ConfigError
from hut_ci.model import Board
from hut_ci.units import format_revision, format_size

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:=@+-]*\Z")


def new_lab(name: str) -> str:
    """The text of a lab without slots."""
    return (
        "# The boards of this lab, one entry per slot; add one with `hut-ci slots add`.\n"
        "# Relays behind Home Assistant need this line (the token file with mode 0600):\n"
        '# home_assistant: {url: "http://homeassistant.local:8123", token_file: /etc/hut-ci/secrets/hass-token}\n'
        f"lab: {re.sub(r'[^A-Za-z0-9._-]', '-', name).strip('-._') or 'lab'}\n"
        "slots:\n"
    )


def slot_entry(slot_id: str, serial: str, board: Board | None, power: str | None, *, unstable: bool = False) -> str:
    """The entry of one slot, not indented; `board` None leaves the facts out."""
    lines = [f"{slot_id}:", f"  serial: {_text(serial)}"]
    if unstable:
        lines.append("  allow_unstable_serial: true")
    if board is not None:
        known = [f"chip: {board.chip}"]
        known += [f"revision: {format_revision(board.revision)}"] if board.revision else []
        known += [f"flash: {format_size(board.flash)}"] if board.flash else []
        known += [f"psram: {format_size(board.psram)}"] if board.psram is not None else []
        known += [f'mac: "{board.mac}"'] if board.mac else []
        lines.append(f"  facts: {{{', '.join(known)}}}")
    if power:
        lines.append(f"  power: {_text(power)}")
    return "\n".join(lines) + "\n"


def insert_slot(text: str, entry: str) -> str:
    """`text` with `entry` after the last slot. Raises ConfigError where `slots:` is written on one line."""
    slots = _slots_node(text)
    if slots is None:
        return _joined(text, "slots:\n" + _indented(entry, 2))
    key, node = slots
    if node.tag == "tag:yaml.org,2002:null" and not node.value:
        return _after_line(text, key.start_mark.line, _indented(entry, key.start_mark.column + 2))
    if not node.value and node.flow_style:
        start, end = node.start_mark.index, node.end_mark.index
        bare = text[:start].rstrip(" ") + text[end:]
        return _after_line(bare, key.start_mark.line, _indented(entry, key.start_mark.column + 2))
    if getattr(node, "flow_style", True):
        raise ConfigError(
            f"line {node.start_mark.line + 1}: the slots are written in braces, which leaves no place to add one",
            why="an entry is added as lines of its own, so that your text and comments stay as they are",
            todo="write `slots:` with one indented entry per slot, or add this one by hand:\n" + entry,
        )
    return _after_line(text, _last_line(node), _indented(entry, node.value[0][0].start_mark.column))


def _slots_node(text: str) -> tuple[Any, Any] | None:
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs: Sequence[tuple[Any, Any]] = root.value if isinstance(root, yaml.MappingNode) else ()
    return next(((key, node) for key, node in pairs if key.value == "slots"), None)


def _last_line(node: Any) -> int:
    """The last line (from 0) that holds something of `node`; the end mark of a block lies behind its comments."""
    import yaml

    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    line: int = node.end_mark.line
    return line - 1 if node.end_mark.column == 0 and line > node.start_mark.line else line


def _after_line(text: str, line: int, addition: str) -> str:
    lines = text.splitlines(keepends=True)
    return _joined("".join(lines[: line + 1]), addition) + "".join(lines[line + 1 :])


def _joined(before: str, after: str) -> str:
    return before + ("" if before.endswith("\n") or not before else "\n") + after


def _indented(entry: str, columns: int) -> str:
    return "".join(" " * columns + line for line in entry.splitlines(keepends=True))


def _text(value: str) -> str:
    return value if _PLAIN.match(value) else json.dumps(value)
