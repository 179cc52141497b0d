"""Which signals end a run, and when they come too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hut_ci.cancellation import SIGNALS, cancellation
from hut_ci.errors import Cancelled


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests themselves run under nohup
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_the_first_signal_cancels(number: signal.Signals) -> None:
    with pytest.raises(Cancelled) as cancelled, cancellation():
        os.kill(os.getpid(), number)
    assert cancelled.value.signal_number == number
    assert number.name in cancelled.value.what


def test_an_interrupt_cancels_a_background_job_too() -> None:
    """A shell without job control starts background jobs with SIGINT ignored; a CI engine's cancel is a SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(Cancelled), cancellation():
        os.kill(os.getpid(), signal.SIGINT)


def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with cancellation():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_after_the_verdict_a_signal_is_too_late() -> None:
    with cancellation() as decided:
        decided()
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with cancellation():
        pass
    assert [signal.getsignal(number) for number in SIGNALS] == before


WHILE_FORKING = """
import os, signal, sys
from pathlib import Path
from hut_ci import process
from hut_ci.cancellation import cancellation
from hut_ci.deadline import Deadline
from hut_ci.errors import Cancelled

started = Path(sys.argv[1])
with cancellation():
    os.register_at_fork(**{sys.argv[2]: lambda: os.kill(os.getpid(), signal.SIGTERM)})
    try:
        process.run(["sh", "-c", f"echo $$ > {started}; exec sleep 60"], deadline=Deadline(60), cwd=Path("/"), env={})
    except Cancelled as error:
        print("cancelled by", error.signal_number)
"""


@pytest.mark.parametrize("moment", ["before", "after_in_parent"])
def test_a_signal_that_meets_a_fork_is_not_lost(moment: str, tmp_path: Path) -> None:
    """Python prints and forgets what is raised in the hooks of a fork; a run would go on, deaf to further signals."""
    argv = [sys.executable, "-c", WHILE_FORKING, str(tmp_path / "pid"), moment]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == (f"cancelled by {signal.SIGTERM.value}\n", "")
    if (tmp_path / "pid").exists() and (text := (tmp_path / "pid").read_text()):
        assert not Path(f"/proc/{text.strip()}").exists(), "the child is ended, too"
