"""Security 19 as an ordinary user meets it: a refusal that says what to do, or no harm; never two holders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_folder import CASES
from mounts import UNSHARE, may_mount
from test_storm import two_users

PROGRAM = Path(__file__).with_name("hostile_folder.py")
# what the first and the second of two users are told
OUTCOMES = {
    "symlink": ("ConfigError", "ConfigError"),
    "hard_link": ("ConfigError", "ConfigError"),
    "foreign": ("ConfigError", "ConfigError"),
    "sticky": ("held", "ConfigError"),
    "garbage": ("held", "slot_busy"),
    "read_only": ("ConfigError", "ConfigError"),
    "full_disk": ("held", "slot_busy"),
}


@pytest.fixture
def shared() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    folder.chmod(0o711)
    (folder / "locks").mkdir()
    yield folder / "locks"
    shutil.rmtree(folder)


@pytest.mark.real
@pytest.mark.skipif(two_users() is None, reason="two users with one group are needed, and root to become them")
@pytest.mark.skipif(not may_mount(), reason="no mount namespace may be made here")
@pytest.mark.parametrize("case", CASES)
def test_no_trap_lets_two_in(shared: Path, case: str) -> None:
    """WS8-6: root sees none of this, so both claimants are ordinary users of one lab group."""
    users = two_users()
    assert users
    argv = [str(UNSHARE), "--mount", sys.executable, str(PROGRAM), case, str(shared), *map(str, users)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert tuple(_word(told[name]) for name in ("first", "second")) == OUTCOMES[case], told
    assert told["victim"] == "precious"
    for event in (told["first"], told["second"]):
        if event["event"] == "refused":
            assert event["what"].isprintable()
            assert event["todo"]
            is_hosts_fault = "`df -h`" in event["todo"] and "remove" not in event["todo"]
            assert is_hosts_fault == (case == "read_only"), "nobody may be sent to remove a lock for that"


def _word(event: dict[str, str]) -> str:
    """`held`, the kind of a refusal, and for a slot in use what a run calls it."""
    if event["event"] != "refused":
        return event["event"]
    return event["evidence"] if event["kind"] == "SlotError" else event["kind"]
