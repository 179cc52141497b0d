"""What a demo application does: a list of steps inside its image, and the program that plays it on the board.

The steps travel as JSON in a block of the image's first segment: magic, length and CRC-32 (little-endian), text.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields

from hut_ci.virtual.chips import ResetReason

_MAGIC = b"\x00VIRTUAL-APP\x01"
_LENGTHS = struct.Struct("<II")
_SPAM_PAUSE_SECONDS = 0.02


# What a program on the board can ask for


@dataclass(frozen=True, slots=True)
class Out:
    data: bytes


@dataclass(frozen=True, slots=True)
class Delay:
    seconds: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Go on when the host has sent something."""


@dataclass(frozen=True, slots=True)
class Remark:
    """An event for observers."""

    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Restart:
    reason: ResetReason


Step = Out | Delay | Listen | Remark | Restart


# What a script can say


@dataclass(frozen=True, slots=True)
class Print:
    """A line as it is, without level and tag."""

    text: str


@dataclass(frozen=True, slots=True)
class Log:
    """A line of ESP-IDF's logger: `I (1234) tag: text`."""

    text: str
    tag: str = "app"
    level: str = "I"


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Panic:
    """Guru Meditation and restart; at every `every`-th start of the app, beginning with the first."""

    cause: str = "LoadProhibited"
    every: int = 1


@dataclass(frozen=True, slots=True)
class Abort:
    """abort() and restart."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing more, ever."""


@dataclass(frozen=True, slots=True)
class Reboot:
    """esp_restart(); into an OTA slot, if one is named: otadata chooses it from then on."""

    ota: int | None = None


@dataclass(frozen=True, slots=True)
class Spam:
    """The same line again and again; `lines` 0: without end."""

    text: str = "spam spam spam"
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """Waits for a line from the host that contains `to`, then prints `text`."""

    to: str
    text: str


@dataclass(frozen=True, slots=True)
class Echo:
    """Sends back every line that the host sends, behind `prefix`, without end."""

    prefix: str = "echo: "


Command = Print | Log | Wait | Panic | Abort | Hang | Reboot | Spam | Reply | Echo

_COMMANDS: dict[str, type[Command]] = {
    kind.__name__.lower(): kind for kind in (Print, Log, Wait, Panic, Abort, Hang, Reboot, Spam, Reply, Echo)
}


@dataclass(frozen=True, slots=True)
class Script:
    """`needs_psram`: the app aborts at start on a board without it."""

    steps: tuple[Command, ...] = ()
    needs_psram: bool = False


def to_block(script: Script) -> bytes:
    """The bytes that an image carries."""
    steps = [{"do": type(step).__name__.lower(), **asdict(step)} for step in script.steps]
    text = json.dumps({"needs_psram": script.needs_psram, "steps": steps}, sort_keys=True).encode()
    return _MAGIC + _LENGTHS.pack(len(text), zlib.crc32(text)) + text


def from_image(image: bytes) -> Script | None:
    """The script in an application image, or None. A damaged block counts as none."""
    at = image.find(_MAGIC)
    if at < 0 or at + len(_MAGIC) + _LENGTHS.size > len(image):
        return None
    length, crc = _LENGTHS.unpack_from(image, at + len(_MAGIC))
    start = at + len(_MAGIC) + _LENGTHS.size
    text = image[start : start + length]
    if len(text) != length or zlib.crc32(text) != crc:
        return None
    return _from_json(json.loads(text))


def script_from_steps(steps: list[dict[str, object]], needs_psram: bool = False) -> Script:
    """Steps written as data: `[{"do": "log", "text": "ready"}, {"do": "wait", "seconds": 1}]`.

    ValueError names an unknown step or field.
    """
    return Script(tuple(_command(step) for step in steps), needs_psram)


def _from_json(document: dict[str, object]) -> Script:
    steps = document.get("steps")
    return script_from_steps(steps if isinstance(steps, list) else [], bool(document.get("needs_psram")))


def _command(step: dict[str, object]) -> Command:
    values = dict(step)
    kind = _COMMANDS.get(str(values.pop("do", None)))
    if kind is None:
        raise ValueError(f"no step {step!r}; there are {', '.join(_COMMANDS)}")
    known = {field.name for field in fields(kind)}
    if not set(values) <= known:
        raise ValueError(f"step {step!r} knows only {', '.join(sorted(known)) or 'no fields'}")
    return kind(**values)  # type: ignore[arg-type]  # JSON values; a wrong type shows when the step is played


# Playing


@dataclass(slots=True)
class Console:
    """What a running app has around it: `take_line` returns the next line from the host, or None so far."""

    log: Callable[[str, str, str], bytes]
    take_line: Callable[[], str | None]
    panic: Callable[[str], bytes]
    abort: Callable[[], bytes]
    starts: int
    choose_ota: Callable[[int], None]


def play(script: Script, console: Console) -> Iterator[Step]:
    """The steps in order; afterwards app_main has returned and the app is idle."""
    for command in script.steps:
        match command:
            case Print(text):
                yield Out(line(text))
            case Log(text, tag, level):
                yield Out(console.log(level, tag, text))
            case Wait(seconds):
                yield Delay(seconds)
            case Panic(cause, every):
                if (console.starts - 1) % every == 0:
                    yield from crash(console.panic(cause))
                    return
            case Abort():
                yield from crash(console.abort())
                return
            case Hang():
                yield Remark("app_hangs")
                return
            case Reboot(ota):
                if ota is not None:
                    console.choose_ota(ota)
                yield Restart(ResetReason.SOFTWARE_CPU)
                return
            case Spam(text, lines):
                yield from _spam(text, lines)
            case Reply(to, text):
                yield from _await_line(console, to)
                yield Out(line(text))
            case Echo(prefix):
                yield from _echo(console, prefix)
    yield Out(console.log("I", "main_task", "Returned from app_main()"))


def crash(text: bytes) -> Iterator[Step]:
    yield Out(text)
    yield Remark("panic")
    yield Restart(ResetReason.SOFTWARE_CPU)


def line(text: str) -> bytes:
    return text.encode() + b"\r\n"


def _spam(text: str, lines: int) -> Iterator[Step]:
    """Endless spam goes out in kilobytes with short pauses: some 50 KB a second, more than any console carries."""
    if lines:
        yield Out(line(text) * lines)
        return
    piece = line(text) * max(1, 1024 // (len(text) + 2))
    while True:
        yield Out(piece)
        yield Delay(_SPAM_PAUSE_SECONDS)


def _await_line(console: Console, wanted: str) -> Iterator[Step]:
    while True:
        heard = console.take_line()
        if heard is None:
            yield Listen()
        elif wanted in heard:
            return


def _echo(console: Console, prefix: str) -> Iterator[Step]:
    while True:
        heard = console.take_line()
        yield Listen() if heard is None else Out(line(prefix + heard))
