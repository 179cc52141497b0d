"""Opening files in folders that several users share: refused unless they can only be what we or the lab made.

The lab group is the group of a setgid lock folder. Everything is opened relative to a folder descriptor and judged
by fstat of what was opened, so that nothing can be exchanged between the look and the use.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hut_ci.claims.locking import door
from hut_ci.errors import ConfigError
from hut_ci.host_fault import host_fault

FILE_MODE = 0o660
# O_NONBLOCK: opening a planted FIFO must not hang; regular files ignore it.
OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
OPEN_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


_trusted: set[tuple[int, int]] = set()
"""Users found in a lab group, by uid and gid: asked once a process, as the kernel does not take groups away from a
running one either. The answer may cost milliseconds (sssd, LDAP), and a waiter looks at everybody's ticket in front."""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder; `group` is the lab group's gid, None where the folder is not setgid."""

    path: Path
    fd: int
    group: int | None


@contextmanager
def lock_folder(path: Path, *, create: bool) -> Iterator[Folder]:
    """The lab's lock folder. Raises ConfigError; FileNotFoundError without `create`.

    `create` makes it, for its maker alone (0700), where the parent is ours. Symbolic links on the way to it are
    the administrator's: /var/lock is one.
    """
    if create and not os.path.exists(path):  # noqa: PTH110 (unlike Path.exists, answers where we may not look)
        _make_private(path)
    with _opened(path, OPEN_FOLDER) as folder:
        yield folder


@contextmanager
def inner_folder(parent: Folder, name: str, *, create: bool) -> Iterator[Folder]:
    """A folder inside `parent`, of the same group. Raises ConfigError; FileNotFoundError without `create`."""
    if create and not _complete(parent, name):
        with door(parent.fd, parent.path):
            _make_shared(parent, name)
    with _opened(parent.path / name, OPEN_FOLDER | os.O_NOFOLLOW, name, parent) as folder:
        yield folder


def open_file(folder: Folder, name: str, flags: int = 0) -> int:
    """A descriptor of the folder's file `name`, which exists afterwards; `flags` such as O_APPEND. Raises ConfigError.

    Open first, create second: with fs.protected_regular, O_CREAT on somebody else's file in a sticky folder
    fails even where plain opening is allowed. Creation happens behind the folder's door, because the mode is
    complete only after fchmod (the umask takes the group's bits away).
    """
    try:
        return open_existing(folder, name, flags)
    except (FileNotFoundError, ConfigError):  # not there, or there and its maker not yet done
        with door(folder.fd, folder.path):
            try:
                return open_existing(folder, name, flags)
            except FileNotFoundError:
                return create_file(folder, name, flags)


def open_existing(folder: Folder, name: str, flags: int = 0) -> int:
    """A checked descriptor of a file that exists. Raises FileNotFoundError or ConfigError."""
    path = folder.path / name
    try:
        fd = os.open(name, OPEN | flags, dir_fd=folder.fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot_open(path, error, planted=True) from error
    return _checked(fd, path, folder.group)


def create_file(folder: Folder, name: str, flags: int = 0) -> int:
    """A descriptor of a new file, mode 0660. Raises ConfigError where it cannot be made; call behind the door."""
    try:
        fd = os.open(name, OPEN | flags | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=folder.fd)
        os.fchmod(fd, FILE_MODE)
    except OSError as error:
        raise _cannot_open(folder.path / name, error) from error
    return fd


def fault(found: os.stat_result, group: int | None) -> str | None:
    """What is wrong with a lock, ticket or state file, in words that follow its name; None: nothing."""
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if found.st_nlink > 1:
        return f"has {found.st_nlink} hard links"
    if found.st_mode & stat.S_IWOTH:
        return "is writable by everybody"
    return _stranger(found.st_uid, group)


def folder_fault(found: os.stat_result, group: int | None) -> str | None:
    """The same for a folder: everybody may write to it only where it is sticky, as /run/lock is."""
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return "is writable by everybody and not sticky"
    return _stranger(found.st_uid, group)


def _stranger(uid: int, group: int | None) -> str | None:
    if uid in (0, os.geteuid()):
        return None
    if (uid, group) in _trusted:
        return None
    try:
        owner = pwd.getpwuid(uid)
    except KeyError:
        return f"belongs to the unknown user {uid}"
    if group is None:
        return f"belongs to {owner.pw_name}, and its folder has no lab group"
    if group in os.getgrouplist(owner.pw_name, owner.pw_gid):
        _trusted.add((uid, group))
        return None
    return f"belongs to {owner.pw_name}, who is not in the lab group {_group_name(group)}"


@contextmanager
def _opened(path: Path, flags: int, name: str = "", parent: Folder | None = None) -> Iterator[Folder]:
    try:
        fd = os.open(name, flags, dir_fd=parent.fd) if parent else os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot_open(path, error, planted=parent is not None) from error
    try:
        found = os.fstat(fd)
        group = found.st_gid if found.st_mode & stat.S_ISGID else None
        if wrong := folder_fault(found, group):
            raise _refused(path, wrong)
        yield Folder(path, fd, group)
    finally:
        os.close(fd)


def _checked(fd: int, path: Path, group: int | None) -> int:
    if wrong := fault(os.fstat(fd), group):
        os.close(fd)
        raise _refused(path, wrong)
    return fd


def _make_private(path: Path) -> None:
    try:
        ours = path.parent.stat().st_uid == os.geteuid()
        if ours:
            path.mkdir(0o700, exist_ok=True)
    except OSError as error:
        raise _cannot_open(path, error) from error
    if not ours:
        raise ConfigError(
            f"the lock folder {path} does not exist", why="its parent is not ours to write to", todo=_advice(path)
        )


def _make_shared(parent: Folder, name: str) -> None:
    mode = 0o2770 if parent.group is not None else 0o770
    try:
        os.mkdir(name, mode, dir_fd=parent.fd)
        made = os.open(name, OPEN_FOLDER | os.O_NOFOLLOW, dir_fd=parent.fd)
    except FileExistsError:
        return
    except OSError as error:
        raise _cannot_open(parent.path / name, error) from error
    try:
        # By its descriptor: a member of the group may have put a link in its place, and chmod(2) would follow it.
        if os.fstat(made).st_uid != os.geteuid():
            raise _refused(parent.path / name, "was exchanged while it was made")
        os.fchmod(made, mode)
    finally:
        os.close(made)


def _complete(parent: Folder, name: str) -> bool:
    """Whether the folder is there with the mode that its maker gives it last."""
    try:
        found = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return found.st_mode & 0o770 == 0o770


def _refused(path: Path, wrong: str) -> ConfigError:
    return ConfigError(
        f"{path} {wrong}: refused",
        why="whoever can exchange or write a lock could take every board of the lab, or two runs could share one",
        todo=f"look at it, remove it, then {_advice(path.parent)}",
    )


def _cannot_open(path: Path, error: OSError, *, planted: bool = False) -> ConfigError:
    """`planted`: something of that name lies in a lock folder."""
    if fault_of_host := host_fault(error, f"{path} cannot be opened"):
        return fault_of_host
    remove = f"`ls -ld {path}`: remove it if it is not the lab's, or " if planted else ""
    return ConfigError(
        f"{path} cannot be opened: {error.strerror}",
        why="a link or a device stands where a file should be, or the lock folder is not shared with this user",
        todo=remove + _advice(path.parent),
    )


def _advice(path: Path) -> str:
    return (
        f"let systemd-tmpfiles make a folder for a lab group: a line `d /run/lock/hut-ci 2770 root hut-lab -` in "
        f"/etc/tmpfiles.d/hut-ci.conf, every lab user in the group hut-lab, and that folder as lock_dir in lab.yml "
        f"(now {path})"
    )


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
