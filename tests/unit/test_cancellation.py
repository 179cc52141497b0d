"""Which signals end a run, and when they come too late."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from hut_ci.cancellation import SIGNALS, cancellation
from hut_ci.errors import Cancelled


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
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
