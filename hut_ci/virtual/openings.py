"""Who opens and closes a device, seen with inotify."""

from __future__ import annotations

import ctypes
import os
import struct

_IN_CLOSE, _IN_OPEN = 0x18, 0x20  # linux/inotify.h
_EVENT = struct.Struct("iIII")


class Openings:
    """A queue of openings and closings of one path. OSError if the kernel refuses to watch it.

    Unlike polling for a hang-up, it cannot miss a program that closes the device just before the next one opens it.
    The kernel merges equal neighbours, so two openings in a row may be reported as one.
    """

    def __init__(self, path: str) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self.fd, path.encode(), _IN_OPEN | _IN_CLOSE) < 0:
            error = ctypes.get_errno()
            os.close(self.fd)
            raise OSError(error, "inotify_add_watch", path)

    def read(self) -> list[bool]:
        """What happened since the last call, in order: True for an opening, False for a closing."""
        try:
            raw = os.read(self.fd, 16384)
        except BlockingIOError:
            return []
        masks = [_EVENT.unpack_from(raw, at)[1] for at in range(0, len(raw), _EVENT.size)]
        return [bool(mask & _IN_OPEN) for mask in masks if mask & (_IN_OPEN | _IN_CLOSE)]

    def close(self) -> None:
        os.close(self.fd)
