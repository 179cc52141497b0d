"""Python, the packages that hut-ci was installed with, and esptool, which is started once."""

from __future__ import annotations

import platform
import re
from importlib import metadata

from hut_ci.deadline import Deadline
from hut_ci.doctor.finding import Finding, failed, missing, ok
from hut_ci.errors import FlashError
from hut_ci.esptool.call import console_script
from hut_ci.process import clean_environment, private_folder, run

REMEDY = "install hut-ci into an environment of its own (pipx install hut-ci)"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def programs(deadline: Deadline) -> list[Finding]:
    return [ok(f"Python {platform.python_version()}"), *packages("hut-ci"), esptool(deadline)]


def packages(distribution: str) -> list[Finding]:
    """The packages that `distribution` asks for. That their versions fit is the installer's to say."""
    try:
        wanted = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return [missing(f"{distribution} is not installed, only copied", REMEDY)]
    found = {name: _version(name) for need in wanted if "extra ==" not in need for name in _NAME.findall(need)[:1]}
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    return [
        ok(f"packages: {there}"),
        *(missing(f"the package {name} is not installed", REMEDY) for name, version in found.items() if not version),
    ]


def esptool(deadline: Deadline) -> Finding:
    """Whether esptool starts and says its version."""
    try:
        program = console_script()
        with private_folder() as folder:
            argv = [str(program), "version"]
            ended = run(argv, deadline=deadline, cwd=folder, env=clean_environment(folder))
    except FlashError as error:
        return failed(error)
    except OSError as error:
        return missing(f"esptool does not start: {error.strerror}", REMEDY)
    if ended.returncode:
        return missing(f"esptool ends with {ended.returncode}: {ended.output.strip()[-200:]}", REMEDY)
    return ok(ended.output.strip().splitlines()[0] if ended.output.strip() else "esptool starts")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
