"""What the kernel does with a family of processes when one of them ends: prctl(2), Linux."""

from __future__ import annotations

import ctypes
import os

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl
# Without a declared signature ctypes passes 32-bit values where the kernel reads unsigned long.
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong]


def signal_when_parent_ends(number: int) -> bool:
    """Ask for signal `number` when the thread that started us ends; 0 asks for none. Whether the kernel agreed.

    exec keeps the setting, except for set-uid programs. Safe between fork and exec.
    """
    return bool(_prctl(_PR_SET_PDEATHSIG, number) == 0)


def adopt_orphans() -> None:
    """From now on a descendant whose parent ends becomes our child, whatever group or session it made for itself.

    exec keeps the setting, children do not inherit it. Raises OSError.
    """
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
