"""The installation on a lab host: two jobs at once, from a workspace that would like to take part."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

INSTALL = Path(__file__).parents[2] / ".github" / "actions" / "setup" / "install.py"
PATIENCE = 240.0
PLANT = "import pathlib\npathlib.Path({mark!r}).touch()\n"


def start(workspace: Path, environments: Path, outputs: Path) -> subprocess.Popen[str]:
    environ = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    environ |= {"PATH": os.environ["PATH"], "HOME": str(workspace / "home"), "PYTHONPATH": str(workspace)}
    environ |= {"HUT_CI_ENV_DIR": str(environments), "GITHUB_OUTPUT": str(outputs)}
    return subprocess.Popen(
        [sys.executable, "-I", INSTALL],
        cwd=workspace,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_install", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup() -> Iterator[ModuleType]:
    """The program as a module; it changes its own mask, which is taken back."""
    before = os.umask(0o077)
    yield module_of(INSTALL)
    os.umask(before)


def planted(home: Path, setup: ModuleType) -> Path:
    """An installation that says that it is complete."""
    folder: Path = home / setup.name_of(setup.SOURCE)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "hut-ci").write_text("#!/bin/sh\n")
    (folder / "bin" / "hut-ci").chmod(0o755)
    (folder / setup.COMPLETE).touch()
    return folder


READER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_setup_install import INSTALL, Path, module_of
setup = module_of(INSTALL)
name = setup.name_of(setup.SOURCE)  # before the drop: the source may be its owner's alone
setup.name_of = lambda source: name
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
home = setup.home_of_environments(Path(sys.argv[2]))
print(setup.install(home) if home == Path(sys.argv[2]) else home)
"""


def test_a_complete_installation_is_used_where_it_may_only_be_read(setup: ModuleType) -> None:
    with tempfile.TemporaryDirectory(prefix="environments-") as name:
        shared = Path(name)
        shared.chmod(0o755)

        def used() -> Path:
            argv = [sys.executable, "-c", READER, str(Path(__file__).parent), str(shared)]
            environ = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(shared / "cache")}
            return Path(subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout.strip())

        os.umask(0o022)
        folder = planted(shared, setup)
        shared.chmod(0o555)
        assert used() == folder / "bin" / "hut-ci"
        (folder / setup.COMPLETE).unlink()
        assert used() == shared / "cache" / "hut-ci" / "env", "what is not complete is not used"
        shared.chmod(0o755)


@pytest.mark.parametrize(("mode", "group"), [(0o2770, 0o060), (0o700, 0)], ids=["a group's", "one's own"])
def test_the_next_user_of_a_groups_folder_can_go_on(tmp_path: Path, setup: ModuleType, mode: int, group: int) -> None:
    home = tmp_path / "environments"
    home.mkdir()
    home.chmod(mode)
    setup.build = lambda _: planted(home, setup)
    folder = setup.install(home).parents[1]
    (lock,) = home.glob("*.lock")
    assert lock.stat().st_mode & 0o060 == group
    assert folder.stat().st_mode & 0o060 == group


def test_another_jobs_installation_is_not_waited_for_for_ever(
    tmp_path: Path, setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that hangs in it must not hang all others of the host; and who it is can be found."""
    lock = (tmp_path / setup.name_of(setup.SOURCE)).with_suffix(".lock")
    setup.build, setup.WAIT_SECONDS = lambda _: planted(tmp_path, setup), 0.3
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(setup.Impossible, match="another job has been installing") as refused:
            setup.install(tmp_path)
    assert str(lock) in refused.value.todo
    assert "waiting for it" in capsys.readouterr().err
    assert setup.install(tmp_path).exists(), "when it has ended, it is done here"


def test_a_step_that_hangs_ends(setup: ModuleType) -> None:
    setup.STEP_SECONDS = 0.2
    with pytest.raises(setup.Impossible, match="did not end within"):
        setup.run([sys.executable, "-c", "import time; time.sleep(60)"], "look at it")


@pytest.mark.real
@pytest.mark.timeout(300)
def test_two_jobs_install_once_and_nothing_of_their_workspace_runs(tmp_path: Path) -> None:
    """security 26: the working directory cannot change us."""
    workspace, environments, mark = tmp_path / "work space", tmp_path / "environments", tmp_path / "planted"
    (workspace / "home").mkdir(parents=True)
    for name in ("venv", "pip", "sitecustomize", "hut_ci", "runpy", "ensurepip"):
        (workspace / f"{name}.py").write_text(PLANT.format(mark=str(mark)))
    control = subprocess.run([sys.executable, "-m", "venv", "x"], cwd=workspace, check=False, capture_output=True)
    assert mark.exists(), f"a program started without care runs what is planted here: {control}"
    mark.unlink()
    jobs = [start(workspace, environments, tmp_path / f"outputs-{number}") for number in (1, 2)]
    answers = [job.communicate(timeout=PATIENCE) for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], answers
    found = {out.strip() for out, _ in answers}
    assert len(found) == 1
    assert sum("installing into" in err for _, err in answers) == 1, answers
    assert not mark.exists()
    (program,) = found
    told = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.startswith("hut-ci")
    assert program in (tmp_path / "outputs-2").read_text()
    Path(program).unlink()  # an installation that was complete once
    again = start(workspace, environments, tmp_path / "outputs-3")
    again.communicate(timeout=PATIENCE)
    assert again.returncode == 0
    assert Path(program).exists()
