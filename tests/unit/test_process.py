"""Real children, real signals: nothing that hut_ci starts outlives it, floods it, or sees its secrets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hut_ci.deadline import Deadline
from hut_ci.process import LOG_LIMIT, OUTPUT_LIMIT, clean_environment, private_folder, run, without_credentials

PYTHON = sys.executable
PATIENCE = 30.0


def alive(pid: int) -> bool:
    """Running, and not a zombie that nobody has reaped yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_gone(pid: int, seconds: float = PATIENCE) -> None:
    deadline = Deadline(seconds)
    while alive(pid):
        assert not deadline.expired, f"process {pid} is still there after {seconds} s"
        time.sleep(0.01)


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_output_exit_code_and_stdin(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write(sys.stdin.read().upper()); sys.exit(3)"
    finished = run(
        [PYTHON, "-c", code],
        deadline=Deadline(PATIENCE),
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        stdin=b"h\xc3\xbct",
    )
    assert (finished.returncode, finished.output, finished.timed_out) == (3, "HÜT", False)


def test_a_child_that_ignores_sigterm_dies_at_the_deadline(tmp_path: Path) -> None:
    """Security 21: the deadline holds against a child that does not want to end."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    seen: list[bytes] = []
    over = once_there_is(seen)
    finished = run([PYTHON, "-c", code], deadline=over, cwd=tmp_path, env=clean_environment(), on_output=seen.append)
    assert finished.timed_out
    assert finished.returncode == -signal.SIGKILL
    assert b"".join(seen) == b"ready\n"
    assert finished.seconds < 40


def once_there_is(seen: list[bytes]) -> Deadline:
    """A deadline that is over as soon as the child has said something, however long it takes to start."""
    return Deadline(PATIENCE, lambda: 2 * PATIENCE if seen else 0.0)


def test_a_child_may_say_a_last_word_after_sigterm(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(15, lambda *_: (os.write(1, b'bye\\n'), sys.exit(7)))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    seen: list[bytes] = []
    over = once_there_is(seen)
    finished = run([PYTHON, "-c", code], deadline=over, cwd=tmp_path, env=clean_environment(), on_output=seen.append)
    assert (finished.timed_out, finished.returncode, finished.output) == (True, 7, "ready\nbye\n")


@pytest.mark.parametrize("ending", ["exit 0", "sleep 300"], ids=["ended-by-itself", "killed"])
def test_grandchildren_die_with_the_group(tmp_path: Path, ending: str) -> None:
    seen: list[bytes] = []
    over = once_there_is(seen) if ending != "exit 0" else Deadline(PATIENCE)
    argv = ["sh", "-c", f"sleep 300 & echo $!; {ending}"]
    finished = run(argv, deadline=over, cwd=tmp_path, env=clean_environment(), on_output=seen.append)
    assert finished.seconds < 2 * PATIENCE, "a grandchild that holds the pipe must not hold us"
    wait_until_gone(int(finished.output))


def test_sigkill_of_the_parent_kills_the_child(tmp_path: Path) -> None:
    """Design decision 1: the children of a killed holder do not go on writing to the port."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from hut_ci.deadline import Deadline\nfrom hut_ci.process import clean_environment, run\n"
        "def show(chunk): sys.stdout.write(chunk.decode()); sys.stdout.flush()\n"
        "run(['sh', '-c', 'echo $$; exec sleep 60'], deadline=Deadline(60), cwd=Path('/'), env=clean_environment(),"
        " on_output=show)"
    )
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, env=_with_package()) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    wait_until_gone(child)


def test_an_exception_ends_the_child(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(chunk: bytes) -> None:
        pids.append(int(chunk))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(
            ["sh", "-c", "echo $$; exec sleep 60"],
            deadline=Deadline(30),
            cwd=tmp_path,
            env=clean_environment(),
            on_output=interrupt,
        )
    assert not alive(pids[0])


def test_a_flood_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    """Security 20: neither our memory nor the disk belongs to a program's output."""
    log = tmp_path / "flood.log"
    code = f"import sys\nfor _ in range({LOG_LIMIT >> 16} + 20): sys.stdout.write('x' * 65536)\nprint('the end')"
    finished = run(
        [PYTHON, "-c", code], deadline=Deadline(4 * PATIENCE), cwd=tmp_path, env=clean_environment(), log=log
    )
    assert finished.returncode == 0
    assert len(finished.output) == OUTPUT_LIMIT
    assert finished.output.endswith("the end\n")
    assert log.stat().st_size == LOG_LIMIT


def test_a_child_that_reads_nothing_does_not_block_us(tmp_path: Path) -> None:
    finished = run(
        ["sh", "-c", "exec 0<&-; exit 4"],
        deadline=Deadline(PATIENCE),
        cwd=tmp_path,
        env=clean_environment(),
        stdin=b"x" * (4 << 20),
    )
    assert finished.returncode == 4


def test_no_descriptor_is_leaked_or_inherited(tmp_path: Path) -> None:
    """Security 19: a lock's descriptor stays ours, even one that was made inheritable."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        before = open_descriptors()
        finished = run(["ls", "/proc/self/fd"], deadline=Deadline(PATIENCE), cwd=tmp_path, env=clean_environment())
        with pytest.raises(FileNotFoundError):
            run(["/nonexistent/program"], deadline=Deadline(PATIENCE), cwd=tmp_path, env=clean_environment())
        assert open_descriptors() == before
    finally:
        os.close(reader)
        os.close(writer)
    assert {int(name) for name in finished.output.split()} <= {0, 1, 2, 3}


def test_no_secret_reaches_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security 14, 15: an allow-list, so that names nobody thought of stay out as well."""
    for name in ("GITHUB_TOKEN", "HASS_TOKEN", "CI_JOB_TOKEN", "INNOCENT_NAME", "LC_SECRET", "PYTHONPATH", "TERM"):
        monkeypatch.setenv(name, "canary-7f3a")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with private_folder() as home:
        finished = run(["env"], deadline=Deadline(PATIENCE), cwd=home, env=clean_environment(home, EXTRA="yes"))
        assert "canary-7f3a" not in finished.output
        seen = dict(line.split("=", 1) for line in finished.output.splitlines())
        assert seen.items() >= {
            "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8", "NO_COLOR": "1", "EXTRA": "yes"
        }.items()  # fmt: skip
        assert "TERM" not in seen


@pytest.mark.parametrize("name", ["HASS_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY", "api_key"])
def test_a_credential_cannot_be_handed_on_by_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="no credentials"):
        clean_environment(None, **{name: "x"})


def test_a_private_folder_is_ours_alone_and_goes_away() -> None:
    with private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(b"x")
    assert not folder.exists()


def _with_package() -> dict[str, str]:
    return {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_somebody_elses_command_gets_no_credentials_but_the_rest() -> None:
    """By their names, and by their values in other variables; a name like one does not take a path with it."""
    token = "glcbt-64_8FKcmzRgxRSJYA"
    ours = {"PATH": "/bin", "HOME": "/home/ci-private-builder", "IDF_PATH": "/opt/idf"}
    secret = {
        "CI_JOB_TOKEN": token,
        "CI_REPOSITORY_URL": f"https://gitlab-ci-token:{token}@gitlab.example/x.git",
        "MY_OWN_NAME": token,
        "ACTIONS_ID_TOKEN_REQUEST_URL": "https://pipelines.example/",
        "WIFI_PASSWORD": "hunter2",
        "SSH_PRIVATE_DIR": "/home/ci-private-builder",
        "OTHER": "other",
    }
    given = without_credentials(ours | secret | {"NAME": "hunter2"}, keep={"WIFI_PASSWORD"}, drop={"OTHER"})
    assert given == ours | {"WIFI_PASSWORD": "hunter2", "NAME": "hunter2"}
