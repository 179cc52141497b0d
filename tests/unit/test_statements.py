"""Every statement about slots (WS8) and power (WS9) is named in the docstring of at least one test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
STATEMENTS = {
    "WS8-1": "hardware jobs are outside the mandatory checks",
    "WS8-2": "hosted jobs succeed with no hardware online",
    "WS8-3": "hardware results go back to the commit that was tested",
    "WS8-4": "one runner label for each slot, one slot for each label",
    "WS8-5": "a slot is a stable name; unstable, doubled and dangling ones are noticed",
    "WS8-6": "labels and locks keep two jobs off one board",
    "WS8-7": "two slots run at the same time",
    "WS8-8": "a wrapper, and a self-test with evidence",
    "WS8-9": "an inventory of /dev/serial/by-id with evidence",
    "WS8-10": "a local mapping of at least two slots, ignored by git, with a committed example",
    "WS8-11": "labels and locks are described",
    "WS8-12": "the host can keep what a run has to keep",
    "WS8-13": "fewer boards than asked is blocked; identities are not made up",
    "WS9-1": "relay entity, slot, off and on time are inputs",
    "WS9-2": "one lock for each slot, /var/lock/hut-<id>.lock",
    "WS9-3": "retries are bounded",
    "WS9-4": "a cooldown between two cycles, across processes",
    "WS9-5": "ok, timeout or ha_error, structured",
    "WS9-6": "off, wait, on in order, and read back",
    "WS9-7": "a documented value for each way of failing",
    "WS9-8": "one slot is serialised, two overlap",
    "WS9-9": "whoever is killed between off and on leaves the relay on",
    "WS9-10": "a run can ask for it, and the board boots again",
    "WS9-11": "the token is never shown",
    "WS9-12": "a relay belongs to one slot or one group, and its domain is allowed",
}


def named() -> Iterator[tuple[str, str]]:
    """(statement, test) for everything that the docstrings of tests name; a whole file's docstring proves nothing."""
    for file in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        for node in functions:
            for statement in re.findall(r"\bWS[89]-\d+\b", ast.get_docstring(node) or ""):
                yield statement, f"{file.name}::{node.name}"


NAMED = list(named())


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement_has_a_test(statement: str) -> None:
    assert any(name == statement for name, _ in NAMED), STATEMENTS[statement]


def test_no_test_names_a_statement_that_does_not_exist() -> None:
    assert {name for name, _ in NAMED} <= set(STATEMENTS)
