"""Which pair of a request a job is about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hut_ci.cli.asked import completed
from hut_ci.errors import UsageError

SHA = "5e" * 20
PAIRS = [
    {"slot": "hut-01", "variant": "i2s", "label": "esp32-hut-01"},
    {"slot": "hut-01", "variant": "muse", "label": "esp32-hut-01"},
    {"slot": "hut-02", "variant": "i2s"},
]
REQUEST = {"schema_version": "hut.request.v1", "commit_sha": SHA, "pairs": PAIRS, "not_after": "2099-01-01T00:00:00Z"}
NOTHING: dict[str, Any] = dict.fromkeys(("commit", "variant", "forge", "run_id", "pull_request", "repository"))
OPTIONS: dict[str, Any] = {
    **NOTHING,
    "run_url": None,
    "publish": (),
    "allow_fork": False,
    "skip_tested": False,
    "request": json.dumps(REQUEST),
}


@pytest.mark.parametrize(
    ("slot", "variant", "context"),
    [
        ("hut-01", "muse", "hardware / hut-01 / muse"),
        ("esp32-hut-01", "i2s", "hardware / hut-01 / i2s"),
        ("hut-02", None, "hardware / hut-02"),
        ("hut-02", "i2s", "hardware / hut-02"),
    ],
)
def test_slot_and_variant_name_the_pair(slot: str, variant: str | None, context: str) -> None:
    found, options = completed(slot, {**OPTIONS, "variant": variant})
    assert found == slot.removeprefix("esp32-")
    assert (options["named_context"], options["commit"]) == (context, SHA)


@pytest.mark.parametrize(("slot", "variant"), [("hut-01", None), ("hut-01", "other"), (None, None), ("hut-09", "i2s")])
def test_what_names_no_pair_or_several_is_refused(slot: str | None, variant: str | None) -> None:
    with pytest.raises(UsageError, match="the request asks for hut-01 / i2s, hut-01 / muse, hut-02, not for"):
        completed(slot, {**OPTIONS, "variant": variant})


def test_a_variant_that_the_request_does_not_name_is_refused() -> None:
    with pytest.raises(UsageError, match="contradicts the request"):
        completed("hut-02", {**OPTIONS, "variant": "muse"})
