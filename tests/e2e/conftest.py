"""What the end-to-end tests start from: a virtual lab, the real `hut-ci` process, and firmware for the boards.

def test_it(lab_of, hut_ci, firmware):
    lab = lab_of(faults={"hut-01": ["silent"]})            # a VirtualLab, entered, in this test's folder
    answer = hut_ci.run(firmware("ready"), lab=lab.lab_yml)  # or hut_ci("slots", …), or hut_ci.start(…) for a Popen
    assert answer.code == 6 and answer.hardware["verdict"]["name"] == "error"
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from console_script import HutCi
from fakes.github import FakeGitHub
from fakes.gitlab import FakeGitLab
from upstream import github_contract, gitlab_contract

from hut_ci.virtual.app_script import Command, Log, Script
from hut_ci.virtual.images import build_folder
from hut_ci.virtual.lab import VirtualLab

LabOf = Callable[..., VirtualLab]
Firmware = Callable[..., Path]

SHORT_POWER = {"off": 0.1, "on": 0.1, "cooldown": 0, "retries": 0, "timeout": 2}
"""Power timing in lab.yml: a virtual board needs no longer."""
APP_SIZE = 64 << 10


@pytest.fixture(scope="session", autouse=True)
def hang_up_is_heard() -> None:
    """By what the tests start, also where they themselves were started with nohup: its ignoring is inherited."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def lab_of(tmp_path: Path) -> Iterator[LabOf]:
    """Enter a VirtualLab in `tmp_path/lab`; the keywords are VirtualLab's, with one slot and a pty by default."""
    with ExitStack() as stack:

        def enter(slots: int = 1, *, power: dict[str, object] | None = None, **options: Any) -> VirtualLab:
            options = {"folder": tmp_path / "lab", "transport": "pty", **options}
            return stack.enter_context(VirtualLab(slots, power={**SHORT_POWER, **(power or {})}, **options))

        yield enter


@pytest.fixture
def hut_ci(tmp_path: Path) -> HutCi:
    """The console script, with this test's folder as working directory and home."""
    return HutCi(tmp_path)


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """A build folder, made once per session and not to be written to.

    The positional arguments are the app's steps: a text is logged under the tag `app`, the rest are commands of
    `hut_ci.virtual.app_script`; the keywords are `build_folder`'s.
    """
    root = tmp_path_factory.mktemp("firmware")

    def build(*steps: Command | str, **options: Any) -> Path:
        script = Script(tuple(Log(step) if isinstance(step, str) else step for step in steps))
        path = root / hashlib.sha256(repr((script, sorted(options.items()))).encode()).hexdigest()[:16]
        if not path.exists():
            build_folder(path, **{"script": script, "app_size": APP_SIZE, **options})
        return path

    return build


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host's folder of installations: made by the first job of all test processes, used by the others."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "environments"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def github() -> Iterator[FakeGitHub]:
    """An empty GitHub; what is asked of it has to fit the official description."""
    with FakeGitHub(checker=github_contract()) as server:
        yield server
        assert server.violations == []


@pytest.fixture
def gitlab() -> Iterator[FakeGitLab]:
    """An empty GitLab; the same."""
    with FakeGitLab(checker=gitlab_contract()) as server:
        yield server
        assert server.violations == []
