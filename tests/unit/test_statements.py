"""Every statement that the product answers for is named in the docstring of at least one test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
STATEMENTS = {
    "LANE-1": "there are two lanes, and each report names its own",
    "LANE-2": "upstream nothing reaches a board, a port or a relay",
    "LANE-3": "at the lab everything may: flash, watch, cycle the power",
    "LANE-4": "what is tested is the artifact of exactly the commit that was asked for",
    "LANE-5": "what was found goes into a status and a report",
    "LANE-6": "both lanes have the same commands and files, and their difference is written down",
    "LANE-7": "a lane is no role, and no role a lane",
    "REPO-4": "a GitLab of the lab is optional",
    "CRED-4": "a credential file is private, in a private folder",
    "CRED-5": "a token and HTTPS, never a password or plain HTTP",
    "CRED-7": "secrets are in no log, report, status, argument or error",
    "CRED-8": "an empty token is a missing one",
    "WS2-2": "an invocation says whose, where, what and what is expected",
    "WS2-3": "a report is for machines and has a note for people",
    "WS2-4": "an invocation names its schema",
    "WS2-5": "what an invocation has to hold",
    "WS2-6": "what it may leave out",
    "WS2-7": "who can be asked",
    "WS2-8": "instants are UTC and end in Z",
    "WS2-10": "what a report has to hold",
    "WS2-11": "success, failed, timeout or cancelled",
    "WS2-12": "the published examples are valid",
    "WS2-13": "a report repeats what it answers, and its duration is that of its instants",
    "WS2-16": "no time limit above the role's",
    "WS2-19": "a report is written however a job ends",
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
    "WS10-1": "GitHub is where the code is; no other server is needed",
    "WS10-2": "a cache makes it faster and never different",
    "WS10-4": "what a job builds and reports lies in its own folder",
    "WS10-6": "artifacts are found by commit",
    "WS10-7": "the lab takes the artifact of that same commit",
    "WS10-8": "a summary names commit, lane, slot, power cycles and recovery",
    "WS10-9": "jobs side by side do not mix",
    "CI-1": "hosted jobs, and jobs on one's own hardware",
    "CI-2": "a build can be looked at without a board",
    "CI-3": "a push is tested",
    "CI-4": "a pull request is tested when somebody with the right asks, by label or comment",
    "CARD-1": "actions and components carry the package",
    "CARD-2": "an artifact is found by its commit",
    "CARD-3": "a slot is claimed by its label",
    "CARD-4": "a board is flashed and tested",
    "CARD-5": "a board that stops answering gets its power cycled",
    "CARD-6": "the answer is a commit status",
    "CARD-7": "it is made of the packages that it was to be made of",
}
ID = re.compile(r"\b(?:LANE|ROLE|OWN|REPO|OPER|CRED|RBOOT|PICK|GATE|WS\d+|ENV|CI|AUTO|DLV|CARD)-\d+\b")


def named() -> Iterator[tuple[str, str]]:
    """(statement, test) for everything that the docstrings of tests name; a whole file's docstring proves nothing."""
    for file in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        for node in functions:
            for statement in ID.findall(ast.get_docstring(node) or ""):
                yield statement, f"{file.name}::{node.name}"


NAMED = list(named())


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_statement_has_a_test(statement: str) -> None:
    assert any(name == statement for name, _ in NAMED), STATEMENTS[statement]


def test_no_test_names_a_statement_that_does_not_exist() -> None:
    assert {name for name, _ in NAMED} == set(STATEMENTS)
