from __future__ import annotations

import pytest

from hut_ci.virtual.app_script import (
    Abort,
    Console,
    Echo,
    Hang,
    Listen,
    Log,
    Out,
    Panic,
    Print,
    Reboot,
    Reply,
    Restart,
    Script,
    Spam,
    Wait,
    from_image,
    play,
    script_from_steps,
    to_block,
)
from hut_ci.virtual.boot import History
from hut_ci.virtual.chips import ResetReason

EVERYTHING = Script(
    (
        Print("a"),
        Log("b", "tag", "W"),
        Wait(1.5),
        Panic("Abort", 2),
        Abort(),
        Hang(),
        Reboot(),
        Reboot(1),
        Spam("x", 3),
        Reply("q", "r"),
        Echo(">"),
    ),
    needs_psram=True,
)


def console(history: History | None = None) -> Console:
    history = history or History()
    return Console(
        log=lambda level, tag, text: f"{level} {tag} {text}\n".encode(),
        take_line=history.take_line,
        panic=lambda cause: cause.encode(),
        abort=lambda: b"abort",
        starts=1,
        choose_ota=lambda _ota: None,
    )


def test_every_step_survives_its_image() -> None:
    assert from_image(b"\xff" * 100 + to_block(EVERYTHING) + b"\0" * 100) == EVERYTHING


def test_a_damaged_block_is_no_script() -> None:
    block = bytearray(to_block(EVERYTHING))
    block[-1] ^= 1
    assert from_image(bytes(block)) is None
    assert from_image(bytes(block[:-5])) is None
    assert from_image(b"nothing") is None


@pytest.mark.parametrize("step", [{"do": "dance"}, {"do": "log", "txt": "x"}, {}])
def test_unknown_steps_are_named(step: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="step"):
        script_from_steps([step])


def test_a_reply_waits_for_its_line() -> None:
    history = History()
    steps = play(Script((Reply("ping", "pong"),)), console(history))
    assert next(steps) == Listen()
    history.input += b"pi"
    assert next(steps) == Listen()
    history.input += b"ng\r\nmore"
    assert next(steps) == Out(b"pong\r\n")
    assert history.input == b"more"


def test_echo_answers_line_by_line() -> None:
    history = History(input=b"one\rtwo\n")
    steps = play(Script((Echo("> "),)), console(history))
    assert [next(steps) for _ in range(3)] == [Out(b"> one\r\n"), Out(b"> two\r\n"), Listen()]


def test_nothing_comes_after_a_hang_or_a_reboot() -> None:
    assert [step for step in play(Script((Hang(), Print("never"))), console()) if isinstance(step, Out)] == []
    assert next(play(Script((Reboot(),)), console())) == Restart(ResetReason.SOFTWARE_CPU)
