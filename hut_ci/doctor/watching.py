"""`projects:` of lab.yml: what a repository that is watched would be tested between."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hut_ci import firmware
from hut_ci.doctor.finding import Finding, failed, ok
from hut_ci.errors import HutCiError
from hut_ci.model import FlashSettings, Lab


def watching(lab: Lab) -> list[Finding]:
    """Whether each `baseline` is a build; without one that can be written, nothing of its repository runs."""
    return [_baseline(watched.address, watched.baseline) for watched in lab.projects if watched.baseline is not None]


def _baseline(address: str, build: Path) -> Finding:
    try:
        with TemporaryDirectory(prefix="hut-ci-") as work:
            firmware.load(build, Path(work), FlashSettings())
    except HutCiError as error:
        return failed(type(error)(f"{address}: its baseline: {error.what}", todo=error.todo))
    return ok(f"{address}: {build} is its baseline")
