"""Propose what a passing board prints, from the logs of a few good boots; pure.

A proposed line stood in every log, in the same order; what differs between boots (numbers, addresses, times) is
generalised, everything else is matched literally.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hut_ci.board.boot_log import BootLog, BootStage, is_banner
from hut_ci.board.pattern import compile_pattern
from hut_ci.model import Expect, Suite
from hut_ci.stages.forbidden import ForbiddenLines

AT_MOST = 6
AT_LEAST = 3
"""Lines of the system and warnings fill up to this many, where the application itself says too little."""
SLOWEST_TIMES = 3.0
LEAST_WITHIN = 5.0
"""Seconds: a line that came at once may be late on a busy board."""
LEAST_SCORE = -1
"""Of a line that repeats: below it, it is a heartbeat and no milestone of the project."""
CONSIDERED = 300
"""Stable lines that are weighed against each other; what comes later in a chatty log is not a milestone."""

_TIMED = re.compile(r"^ *(-?\d+\.\d{3}) ?(.*)$")
_LOG_PREFIX = re.compile(r"(?:\b([EWIDV]) ?)?\([\d:.]+\) (?=[\w.-]+:)")
_VARIABLE = re.compile(
    r"(?P<hexadecimal>0x[0-9A-Fa-f]+)"
    r"|(?P<mac>\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b)"
    r"|(?P<digest>\b(?=[0-9A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}\b)"
    r"|(?P<number>\d+(?:[.:,]\d+)*)"
)
_PATTERN_OF = {
    "hexadecimal": "0x[0-9A-Fa-f]+",
    "mac": "[0-9A-Fa-f:-]{17}",
    "digest": "[0-9A-Fa-f]+",
    "number": r"\d[\d.:,]*",
}
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_SYSTEM_TAG = re.compile(
    r"^(?:cpu_start|app_init|app_start|main_task|heap_init|spi_flash|flash_parts|partition|efuse_init|intr_alloc|sleep\w*"
    r"|coexist|phy\w*|wifi|wifi_init|pp|net80211|\w*psram|memory_layout|esp_image|esp_core_dump\w*|clk|system_api|uart"
    r"|gpio|cache):"
)
_MILESTONE = re.compile(
    r"(?i)\b(?:ready|started|start(?:ing)?|connected|got|initiali[sz]ed|init|done|complete[d]?|listening|running|online|up|ok"
    r"|mounted|entering|calling app_main|passed|welcome)\b"
)
_PROMPT = re.compile(r"[A-Za-z][\w-]*[>$#] ?$")
_LETTERS = re.compile(r"[A-Za-z]{3}")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of an application, as the pattern that it would become."""

    pattern: str
    at: float
    score: int
    own: bool
    """Said by the project in good health; otherwise by the system, as a warning or as an incessant repetition."""


def propose(logs: Sequence[Sequence[str]]) -> tuple[Expect, ...]:
    """At most six lines that every boot printed, in order; empty where the boots have nothing in common.

    A log is the lines of a serial.txt (`   1.234 line`, seconds since the reset); lines without a time count as 0 s.
    """
    boots = [_once(_app_lines(log)) for log in logs]
    if not boots:
        return ()
    common = [line for line in boots[0].values() if all(line.pattern in boot for boot in boots)][:CONSIDERED]
    chain = _ordered(common, boots)
    ranked = sorted(chain, key=lambda line: (not line.own, -line.score))
    best = sorted(ranked[: min(AT_MOST, max(AT_LEAST, sum(line.own for line in chain)))], key=chain.index)
    return tuple(_expectations(best, boots))


def _app_lines(log: Sequence[str]) -> Iterable[_Line]:
    """What the application says in good health: no ROM, no bootloader, no line that the built-in rules forbid."""
    boot, forbidden = BootLog(), ForbiddenLines(Suite())
    for raw in log:
        timed = _TIMED.match(raw)
        at, text = (float(timed[1]), timed[2]) if timed else (0.0, raw)
        boot.feed(text)
        started = boot.stage is BootStage.APP
        if at < 0 or not started or is_banner(text) or forbidden.find(text, app_started=True):
            continue
        line = _generalise(text, at)
        if line is not None:
            yield line


def _generalise(text: str, at: float) -> _Line | None:
    prefix = _LOG_PREFIX.search(text)
    level = prefix[1] if prefix else None
    body = text[prefix.end() :] if prefix else text
    if not _LETTERS.search(_VARIABLE.sub("", body)) or not body[0].isalnum() or "\ufffd" in body:
        return None
    pieces, last = [], 0
    for match in _VARIABLE.finditer(body):
        pieces += [_escape(body[last : match.start()]), _PATTERN_OF[match.lastgroup or "number"]]
        last = match.end()
    pattern = "".join([*pieces, _escape(body[last:])]).strip()
    own = not _SYSTEM_TAG.match(body) and level in (None, "I")
    return _Line(pattern, at, _score(body, level), own) if len(pattern) <= 400 else None


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)


def _score(body: str, level: str | None) -> int:
    score = 2 * bool(_MILESTONE.search(body)) + 3 * bool(_PROMPT.search(body))
    score += level is not None and not _SYSTEM_TAG.match(body)
    score -= 3 * (level in ("E", "W", "D", "V")) + bool(_SYSTEM_TAG.match(body)) + bool(_VARIABLE.search(body))
    return score + 2 * ("app_main" in body)


def _once(lines: Iterable[_Line]) -> dict[str, _Line]:
    """By pattern, in order; a line that repeats is no milestone, only its first showing counts."""
    found: dict[str, _Line] = {}
    for line in lines:
        earlier = found.get(line.pattern)
        if earlier is None:
            found[line.pattern] = line
        else:
            score = earlier.score - 1
            found[line.pattern] = _Line(line.pattern, earlier.at, score, earlier.own and score >= LEAST_SCORE)
    return found


def _ordered(lines: Sequence[_Line], boots: Sequence[dict[str, _Line]]) -> list[_Line]:
    """The longest run of `lines` that comes in the same order in every boot."""
    places = [{pattern: place for place, pattern in enumerate(boot)} for boot in boots]
    at = [tuple(place[line.pattern] for place in places) for line in lines]
    length, before = [1] * len(lines), [-1] * len(lines)
    for this in range(len(lines)):
        for earlier in range(this):
            follows = all(a < b for a, b in zip(at[earlier], at[this], strict=True))
            if follows and length[earlier] + 1 > length[this]:
                length[this], before[this] = length[earlier] + 1, earlier
    chain: list[_Line] = []
    here = max(range(len(lines)), key=lambda index: length[index], default=-1)
    while here >= 0:
        chain.append(lines[here])
        here = before[here]
    return chain[::-1]


def _expectations(lines: Sequence[_Line], boots: Sequence[dict[str, _Line]]) -> Iterable[Expect]:
    previous = [0.0] * len(boots)
    for line in lines:
        times = [boot[line.pattern].at for boot in boots]
        slowest = max(at - since for at, since in zip(times, previous, strict=True))
        compile_pattern(line.pattern, "learn")
        yield Expect(line=line.pattern, within=max(LEAST_WITHIN, float(math.ceil(SLOWEST_TIMES * slowest))))
        previous = times


def to_yaml(expect: Sequence[Expect]) -> str:
    """The `suite:` block of a hut.yml."""
    if not expect:
        return "suite:\n  expect: []\n"
    rows = []
    for step in expect:
        quoted = (step.line or "").replace("'", "''")
        rows.append(f"    - line: '{quoted}'\n      within: {step.within:g}\n")
    return "suite:\n  expect:\n" + "".join(rows)
