"""Whether a test may mount something that nobody else sees."""

from __future__ import annotations

import os
import shutil
import subprocess

UNSHARE = shutil.which("unshare")


def may_mount() -> bool:
    if os.geteuid() != 0 or UNSHARE is None:
        return False
    return subprocess.run([UNSHARE, "--mount", "/bin/true"], capture_output=True, check=False).returncode == 0
