"""The folder of the locks: whether all users of the lab meet in it, now and after the next boot."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from hut_ci import proc
from hut_ci.claims.safe_files import OPEN_FOLDER, Folder, lock_folder
from hut_ci.doctor import mounts
from hut_ci.doctor.finding import Finding, failed, missing, ok, warn
from hut_ci.doctor.mounts import Mount
from hut_ci.errors import ConfigError

DEFAULT = Path("/var/lock")
REMEDY = (
    "a line `d /run/lock/hut-ci 2770 root hut-lab -` in /etc/tmpfiles.d/hut-ci.conf, `systemd-tmpfiles --create`, and "
    "`lock_dir: /run/lock/hut-ci` in lab.yml"
)
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph"})
"""File systems whose locks need not reach another host, or another mount of the same host."""
TMPFILES = ("etc/tmpfiles.d", "run/tmpfiles.d", "usr/lib/tmpfiles.d")


def locks(path: Path, root: Path = Path("/")) -> list[Finding]:
    """`root` is where the system's own folders are looked for."""
    try:
        with lock_folder(path, create=False) as folder:
            return [*_members(folder), excludes(path), *_same_for_all(path, root), *_after_a_boot(folder, root)]
    except FileNotFoundError:
        return [missing(f"the lock folder {path} does not exist", REMEDY)]
    except ConfigError as error:
        return [failed(error)]


def excludes(path: Path) -> Finding:
    """Lock the folder itself twice: the second must be refused. Takes microseconds and leaves nothing behind."""
    first, second = os.open(path, OPEN_FOLDER), os.open(path, OPEN_FOLDER)
    try:
        for fd in (first, second):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ok(f"locks in {path} exclude (`hut-ci slots selftest` shows it with whole slots)")
    except OSError as error:
        return missing(f"locks do not work in {path}: {error.strerror}", REMEDY)
    finally:
        os.close(first)
        os.close(second)
    return missing(f"two locks in {path} do not exclude each other", "put lock_dir on a local file system")


def made_at_boot(path: Path, lines: Iterable[str]) -> bool:
    """Whether a line of tmpfiles.d(5) makes `path`, under any of its names."""
    names = {str(path), str(path.resolve())}
    fields = (line.split() for line in lines if not line.lstrip().startswith("#"))
    return any(len(words) > 1 and words[0][0] in "dDvqQ" and words[1].rstrip("/") in names for words in fields)


def _members(folder: Folder) -> list[Finding]:
    if folder.group is None:
        return [warn(f"{folder.path} serves one user alone: it is not a folder of a lab group", REMEDY)]
    name, members = _group(folder.group)
    mode = stat.S_IMODE(os.fstat(folder.fd).st_mode)
    shared = ok(f"{folder.path} is shared by the group {name}: {', '.join(sorted(members)) or 'nobody'}")
    if mode & 0o070 != 0o070:
        return [
            missing(f"the group {name} may not write to {folder.path} (mode {mode:04o})", f"chmod 2770 {folder.path}")
        ]
    return [shared, *_membership(name, folder.group, members)]


def _membership(name: str, gid: int, members: set[str]) -> list[Finding]:
    me = proc.user_name(os.geteuid())
    if os.geteuid() == 0 or gid in {os.getegid(), *os.getgroups()}:
        return []
    if me in members:
        return [missing(f"{me} joined {name} after this login", "log in again; a service: restart it")]
    return [missing(f"{me} is not in the group {name}", f"usermod -aG {name} {me}, then log in again")]


def _same_for_all(path: Path, root: Path) -> list[Finding]:
    """A service with PrivateTmp, or a container, has a folder of its own under the same name."""
    mount = mounts.here(path)
    findings = [finding for finding in (_private(path, mount), _first_process_disagrees(path, root)) if finding]
    if mount and mount.kind in REMOTE:
        why = "its locks need not reach every process"
        findings.append(warn(f"{path} is on {mount.kind}: {why}", "put lock_dir on a local file system"))
    return findings


def _private(path: Path, mount: Mount | None) -> Finding | None:
    if mount and "systemd-private-" in mount.root:
        return missing(f"{path} is private to this service (PrivateTmp): it locks out nobody", REMEDY)
    if path.resolve().parts[:2] == ("/", "tmp") or path.resolve().parts[:3] == ("/", "var", "tmp"):
        return warn(f"{path}: services with PrivateTmp have another folder under this name", REMEDY)
    return None


def _first_process_disagrees(path: Path, root: Path) -> Finding | None:
    """Whether the host's first process finds another folder under the same name; told to root alone."""
    if os.geteuid() != 0:
        return None
    try:
        found = Path(f"{root}/proc/1/root{path.resolve()}").stat()
    except PermissionError:  # root of a container that shares the host's processes
        return None
    except OSError:
        return missing(f"the rest of this host has no {path}: this is a mount of our own", REMEDY)
    if os.path.samestat(found, path.stat()):
        return None
    return missing(f"{path} is not the folder that the rest of this host sees", REMEDY)


def _after_a_boot(folder: Folder, root: Path) -> list[Finding]:
    mount = mounts.here(folder.path)
    if folder.path.resolve() == DEFAULT.resolve() or mount is None or mount.kind != "tmpfs":
        return []
    if made_at_boot(folder.path, _lines(root)):
        return [ok(f"{folder.path} is made again at each boot")]
    return [warn(f"{folder.path} is gone after the next boot: it lies in memory", REMEDY)]


def _lines(root: Path) -> list[str]:
    files = [file for name in TMPFILES for file in sorted((root / name).glob("*.conf"))]
    return [
        line for file in files if os.access(file, os.R_OK) for line in file.read_text("utf-8", "replace").splitlines()
    ]


def _group(gid: int) -> tuple[str, set[str]]:
    """Its name and the login names of its members; the number where the system does not know it."""
    first = {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}
    try:
        found = grp.getgrgid(gid)
    except KeyError:
        return str(gid), first
    return found.gr_name, first | set(found.gr_mem)
