from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hut_ci.claims.names import lock_name, queue_name
from hut_ci.errors import ConfigError


@pytest.mark.parametrize(
    ("slot_id", "lock"),
    [("hut-01", "hut-01.lock"), ("01", "hut-01.lock"), ("s3-bench", "hut-s3-bench.lock"), ("hut", "hut-hut.lock")],
)
def test_one_prefix(slot_id: str, lock: str) -> None:
    """WS9-2: `/var/lock/hut-<id>.lock`, where <id> is the slot id without its own prefix."""
    assert lock_name(slot_id) == lock
    assert queue_name(slot_id) == lock.replace(".lock", ".queue")


@pytest.mark.parametrize(
    "slot_id", ["", "hut-", "hut-hut-01", "../x", "a/b", ".", "..", "a.b", "-x", "a b", "a\n", "é", "a\0b", "x" * 64]
)
def test_anything_but_a_plain_name_is_refused(slot_id: str) -> None:
    """Security 19: ids match a strict pattern before they become paths."""
    with pytest.raises(ConfigError, match="cannot name a lock file") as refused:
        lock_name(slot_id)
    assert refused.value.todo


@given(st.text(max_size=70))
def test_whatever_passes_is_one_visible_path_component(slot_id: str) -> None:
    try:
        name = lock_name(slot_id)
    except ConfigError:
        return
    assert name.isascii()
    assert "/" not in name
    assert name.startswith("hut-")
    assert name.count(".") == 1
