"""Commit statuses in a folder: nothing is lost, nothing stays pending for ever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hut_ci.errors import PublishError, UsageError
from hut_ci.forges.local import LocalForge
from hut_ci.forges.local.owner import Owner, is_gone, this_process
from hut_ci.stages.publish import announce, publish

SHA = "0123456789abcdef0123456789abcdef01234567"
RUNS = Path(__file__).parents[2] / "data" / "reports" / "runs"
POST = """
import sys
from pathlib import Path
from hut_ci.forges.local import LocalForge
forge = LocalForge(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    forge.set_status("0123456789abcdef0123456789abcdef01234567", sys.argv[2], "pending", f"waiting {number}")
print("posted", flush=True)
sys.stdin.read()
"""


def poster(root: Path, context: str, times: int = 1) -> subprocess.Popen[bytes]:
    """A process that posts pending statuses and then waits for the end of its input."""
    return subprocess.Popen(
        [sys.executable, "-c", POST, str(root), context, str(times)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_the_last_one_counts_and_all_are_kept(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    announce(forge, SHA, "hut-01", "waiting")
    publish(json.loads((RUNS / "fail.json").read_text()), forge)
    announce(forge, SHA, "hut-02", "waiting")
    assert [(status.context, status.state) for status in forge.statuses(SHA)] == [
        ("hardware / hut-01", "failure"),
        ("hardware / hut-02", "pending"),
    ]
    assert [status.state for status in forge.history(SHA, "hardware / hut-01")] == ["pending", "failure"]
    assert forge.statuses("1" * 40) == []
    assert forge.history(SHA, "other") == []


def test_contexts_that_look_alike_as_file_names_stay_apart(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    for context in ("hardware / a", "hardware-a", "hardware a", "../../a", "x" * 5000):
        forge.set_status(SHA, context, "success", context[:20])
    assert len(forge.statuses(SHA)) == 5
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "statuses" / SHA}


@pytest.mark.parametrize("sha", ["", "0123456", "../" * 13 + "x", SHA.upper()])
def test_only_full_commit_ids(tmp_path: Path, sha: str) -> None:
    """Design decision 8, security 19."""
    forge = LocalForge(tmp_path)
    for call in (
        lambda: forge.set_status(sha, "c", "success", ""),
        lambda: forge.statuses(sha),
        lambda: forge.find_artifact(sha),
    ):
        with pytest.raises(UsageError):
            call()
    assert list(tmp_path.iterdir()) == []


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Both post 20 times to one context at once; all 40 entries are there."""
    children = [poster(tmp_path, "c", 20) for _ in range(2)]
    for child in children:
        with child:
            assert child.communicate(timeout=60)[0] == b"posted\n"
    assert len(LocalForge(tmp_path).history(SHA, "c")) == 40


def test_killed_poster_is_repaired_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Security 22: a run that was killed after `pending` is ended by the next run."""
    forge = LocalForge(tmp_path)
    with poster(tmp_path, "killed") as killed, poster(tmp_path, "alive") as alive:
        for child in (killed, alive):
            assert child.stdout is not None
            assert child.stdout.readline() == b"posted\n"
        assert forge.repair() == []
        os.kill(killed.pid, signal.SIGKILL)
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as under a runner that has not reaped it
        assert [status.context for status in forge.repair()] == ["killed"]
        assert forge.repair() == []
        states = {status.context: (status.state, status.description) for status in forge.statuses(SHA)}
        assert states["killed"] == ("error", "lab error: the run was killed during “waiting 0”")
        assert states["alive"] == ("pending", "waiting 0")
        alive.communicate()


def rewritten(root: Path, **owner: object) -> None:
    """The one status file of `root`, its owner changed."""
    (path,) = root.rglob("*.json")
    entries = json.loads(path.read_text())
    entries[-1]["owner"].update(owner)
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("owner", "gone"),
    [
        ({}, False),
        ({"start": 1}, True),
        ({"boot_id": "before the reboot"}, True),
        ({"boot_id": "other", "host": "elsewhere"}, None),
        ({"pid_namespace": "pid:[1]"}, None),
    ],
)
def test_who_is_gone(owner: dict[str, object], gone: bool | None) -> None:
    """A number that was given to another process, a reboot, another host, another container."""
    me = this_process()
    entry = {name: getattr(me, name) for name in ("host", "boot_id", "pid_namespace", "pid", "start")}
    assert is_gone(Owner(**{**entry, **owner})) is gone


def test_owner_on_another_host_is_ended_by_age(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    forge.set_status(SHA, "c", "pending", "")
    rewritten(tmp_path, boot_id="other", host="elsewhere")
    assert forge.repair() == []
    assert forge.repair(before="2020-01-01T00:00:00Z") == []
    assert [status.state for status in forge.repair(before="2999-01-01T00:00:00Z")] == ["error"]


def test_a_final_state_is_never_touched(tmp_path: Path) -> None:
    forge = LocalForge(tmp_path)
    forge.set_status(SHA, "c", "success", "")
    rewritten(tmp_path, start=1)
    assert forge.repair(before="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize("content", ["", "{}", "[]", "[{}]", '["x"]', '[{"state": "success"}]'])
def test_foreign_file(tmp_path: Path, content: str) -> None:
    """Reading says which file; the next run's repair passes over it."""
    forge = LocalForge(tmp_path)
    forge.set_status(SHA, "c", "pending", "")
    (path,) = tmp_path.rglob("*.json")
    path.write_text(content)
    with pytest.raises(PublishError, match="status"):
        forge.statuses(SHA)
    assert forge.repair() == []


def test_links_are_refused(tmp_path: Path) -> None:
    """Security 19."""
    forge = LocalForge(tmp_path)
    forge.set_status(SHA, "c", "pending", "")
    (path,) = tmp_path.rglob("*.json")
    target = path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(target)
    with pytest.raises(PublishError):
        forge.set_status(SHA, "c", "success", "")
    assert forge.statuses(SHA) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "statuses").write_text("a file")
    with pytest.raises(PublishError, match="cannot be written") as caught:
        LocalForge(tmp_path).set_status(SHA, "c", "success", "")
    assert caught.value.exit_code == 8
    assert caught.value.todo
