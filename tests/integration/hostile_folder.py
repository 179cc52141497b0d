"""Lays a trap in a lock folder and lets two ordinary users claim a slot there; prints what each was told, as JSON.

    unshare --mount python tests/integration/hostile_folder.py CASE FOLDER USER OTHER GROUP

As root, in a mount namespace of its own, because a full disk and a read-only file system are mounted for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CLAIMANT = Path(__file__).with_name("claimant.py")
LOCK = "hut-01.lock"
STRANGER = 54321
"""A user id that nobody has, least of all a member of the lab group."""


def symlink(folder: Path) -> None:
    (folder / "victim").write_text("precious")
    (folder / LOCK).symlink_to(folder / "victim")


def hard_link(folder: Path) -> None:
    victim = folder / "victim"
    victim.write_text("precious")
    victim.chmod(0o660)
    os.chown(victim, -1, folder.stat().st_gid)
    (folder / LOCK).hardlink_to(victim)


def foreign(folder: Path) -> None:
    _file(folder / LOCK, b"")
    os.chown(folder / LOCK, STRANGER, folder.stat().st_gid)


def sticky(folder: Path) -> None:
    os.chown(folder, 0, 0)
    folder.chmod(0o1777)


def garbage(folder: Path) -> None:
    _file(folder / LOCK, b"\x1b[2J{" * 20000)


def read_only(folder: Path) -> None:
    _mount("-o", "remount,ro", str(folder))


def full_disk(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


CASES: dict[str, Callable[[Path], None]] = {
    made.__name__: made for made in (symlink, hard_link, foreign, sticky, garbage, read_only, full_disk)
}


def _file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chown(path, -1, path.parent.stat().st_gid)
    path.chmod(0o660)


def _mount(*words: str) -> None:
    subprocess.run(["/bin/mount", *words], check=True)


def _start(folder: Path, user: str, *options: str) -> subprocess.Popen[str]:
    argv = [sys.executable, str(CLAIMANT), str(folder), "hut-01", "--user", user, "--umask", "077", *options]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _told(claimant: subprocess.Popen[str]) -> dict[str, object]:
    """Whether it held or was refused; nothing where it ended with neither."""
    assert claimant.stdout is not None
    for line in claimant.stdout:
        event: dict[str, object] = json.loads(line)
        if event["event"] in ("held", "refused"):
            return event
    return {"event": "ended"}


def main() -> None:
    case, folder, user, other, group = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
    _mount("-t", "tmpfs", "-o", "size=256k,mode=2770", "tmpfs", str(folder))
    os.chown(folder, 0, group)
    folder.chmod(0o2770)
    CASES[case](folder)
    with _start(folder, user, "--wait", "1") as first:
        one = _told(first)
        with _start(folder, other, "--wait", "0") as second:
            two = _told(second)
            second.kill()
        first.kill()
    victim = folder / "victim"
    print(json.dumps({"first": one, "second": two, "victim": victim.read_text() if victim.exists() else "precious"}))


if __name__ == "__main__":
    main()
