"""The second total table: how a run ended → what each forge calls it."""

import pytest
from report_samples import samples

from hut_ci.model import VerdictName
from hut_ci.reports import states
from hut_ci.reports.json_document import to_document

GITHUB = {"pending", "success", "failure", "error"}
GITLAB = {"pending", "running", "success", "failed", "canceled"}
WS2 = {"success", "failed", "timeout", "cancelled"}


def test_total_over_every_verdict_and_mark() -> None:
    """Contradiction 8 of the seed: one table, no verdict without a row and no row without a verdict."""
    assert set(states.table()) == {*VerdictName, "recovered", "flaky", "timed_out", "running"}


@pytest.mark.parametrize("name", sorted(states.table()))
def test_words_of_each_forge(name: str) -> None:
    row = states.table()[name]
    assert row.github in GITHUB
    assert row.gitlab in GITLAB
    assert row.ws2 in WS2 or (name == "running" and row.ws2 is None)


def test_green_only_for_a_pass() -> None:
    """Security 23, and never `failure` for what is not the firmware's."""
    green = {name for name, row in states.table().items() if "success" in (row.github, row.gitlab, row.ws2)}
    assert green == {"pass", "recovered", "flaky"}
    assert {name for name, row in states.table().items() if row.github == "failure"} == {"fail"}


@pytest.mark.parametrize(
    ("sample", "key", "status"),
    [
        ("pass", "pass", "success"),
        ("recovered", "recovered", "success"),
        ("flaky", "flaky", "success"),
        ("fail", "fail", "failed"),
        ("error", "error", "failed"),
        ("config", "error", "failed"),
        ("timed_out", "timed_out", "timeout"),
        ("blocked", "blocked", "failed"),
        ("cancelled", "cancelled", "cancelled"),
        ("killed", "error", "failed"),
    ],
)
def test_row_of_a_report(sample: str, key: str, status: str) -> None:
    """WS2-11."""
    document = to_document(samples()[sample])
    assert states.key(document["hardware"]["verdict"]) == key
    assert document["status"] == status


def test_unknown_vocabulary() -> None:
    with pytest.raises(KeyError):
        states.table()["pass"].of("gerrit")
