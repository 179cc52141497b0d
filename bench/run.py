"""`make bench`: hut-ci beside raw esptool and pytest-embedded, on the same virtual boards, in one run.

Every figure is a median over rounds; in each round the contestants take turns, so that all of them see the same
load. What counts is the ratio: absolute times are those of this machine and of simulated boards.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import serial
from action import action
from forge import first_bytes
from hand_over import hand_over
from power import power_cycle
from rich.console import Console
from rich.table import Table
from watch import calls_of_watch

from hut_ci.virtual.app_script import Log, Script, Wait
from hut_ci.virtual.images import build_folder, next_build
from hut_ci.virtual.lab import VirtualLab

BAUD = 921600
APP_SIZE = 1_500_000 // 16 * 16
READY = "bench: ready"
BIN = Path(sys.executable).parent
# A real application takes about as long to get ready; pytest-embedded misses what comes in the first 0.2 s.
SCRIPT = Script((Wait(1.0), Log("ready", tag="bench")))
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Bench:
    """The builds of one bench run and the folder that everything happens in."""

    folder: Path
    first: Path
    next: Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: %(default)s)")
    parser.add_argument("--only", choices=(*IN_TURNS, *ALONE), help="one part alone")
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="hut-ci-bench-") as name:
        bench = prepare(Path(name))
        for number in range(arguments.rounds):
            for part, measure in IN_TURNS.items():
                if arguments.only in (None, part):
                    for what, took in measure(bench, number).items():
                        seconds.setdefault(what, []).append(took)
                        print(f"round {number + 1}  {what:34} {took:8.2f} s", file=sys.stderr, flush=True)
    for part, figures in ALONE.items():
        if arguments.only in (None, part):
            for what, took in figures(arguments.rounds).items():
                seconds[what] = [took]
                print(f"{what:44} {took:8.3f} s", file=sys.stderr, flush=True)
    report({what: statistics.median(values) for what, values in seconds.items()}, arguments.rounds)
    return 0


def prepare(folder: Path) -> Bench:
    """A 1.5 MB application and the same project one commit later."""
    same: dict[str, Any] = {"project": "bench", "script": SCRIPT, "app_size": APP_SIZE, "seed": 7}
    return Bench(
        folder, build_folder(folder / "first" / "build", **same), next_build(folder / "next" / "build", **same)
    )


def on_pty(bench: Bench, number: int) -> dict[str, float]:
    """Bytes paced at the negotiated baud rate, erase and program times of a data sheet: what a real board takes."""
    took = {}
    for tool, flash in {"esptool": raw_pty, "hut-ci": hut_ci}.items():
        with lab(bench, f"pty-{tool}-{number}", "pty", paced=True) as virtual:
            took[f"pty {tool} first"] = timed(flash, virtual, bench.first)
            took[f"pty {tool} next build"] = timed(flash, virtual, bench.next)
            took[f"pty {tool} unchanged"] = timed(flash, virtual, bench.next)
    return took


def on_rfc2217(bench: Bench, number: int) -> dict[str, float]:
    """A board that takes no time itself, over the network protocol that real labs export ports with."""
    took = {}
    for tool, flash in {"esptool": raw_rfc2217, "hut-ci": hut_ci, "pytest-embedded": pytest_embedded}.items():
        with lab(bench, f"rfc-{tool}-{number}", "rfc2217", paced=False) as virtual:
            took[f"rfc2217 {tool} first"] = timed(flash, virtual, bench.first)
            took[f"rfc2217 {tool} unchanged"] = timed(flash, virtual, bench.first)
    return took


def from_a_forge(bench: Bench, number: int) -> dict[str, float]:
    """From a commit on a forge, with a warm cache, until the first byte is flashed."""
    with lab(bench, f"forge-{number}", "pty", paced=False) as virtual:
        return first_bytes(virtual, bench.first, write_flash(virtual.boards["hut-01"].serial, bench.first, "no-reset"))


def start_up(_bench: Bench, _number: int) -> dict[str, float]:
    return {
        "start python": best_of(lambda: call([sys.executable, "-c", "pass"])),
        "start hut-ci --version": best_of(lambda: call([str(BIN / "hut-ci"), "--version"])),
    }


def on_slots(rounds: int) -> dict[str, float]:
    return {**hand_over(rounds), **power_cycle(rounds)}


IN_TURNS = {"pty": on_pty, "rfc2217": on_rfc2217, "forge": from_a_forge, "start": start_up}


def watching(_rounds: int) -> dict[str, float]:
    """API calls, not seconds: they are the same in every round."""
    with tempfile.TemporaryDirectory(prefix="hut-ci-bench-") as name:
        bench = prepare(Path(name))
        with lab(bench, "watch", "pty", paced=False) as virtual:
            return calls_of_watch(virtual, bench.first)


ALONE = {"slots": on_slots, "action": action, "watch": watching}


def lab(bench: Bench, name: str, transport: Any, *, paced: bool) -> VirtualLab:
    return VirtualLab(1, folder=bench.folder / name, transport=transport, pace=paced, erase_times=paced)


def timed(flash: Callable[[VirtualLab, Path], None], virtual: VirtualLab, build: Path) -> float:
    start = time.monotonic()
    flash(virtual, build)
    return time.monotonic() - start


def best_of(run: Callable[[], None], times: int = 5) -> float:
    def once() -> float:
        start = time.monotonic()
        run()
        return time.monotonic() - start

    return min(once() for _ in range(times))


# --- the contestants ------------------------------------------------------------------------------------


def raw_pty(virtual: VirtualLab, build: Path) -> None:
    port = virtual.boards["hut-01"].serial
    esptool(port, build, "no-reset")
    wait_for_ready(serial.Serial(port, 115200, timeout=0.1, exclusive=True))


def raw_rfc2217(virtual: VirtualLab, build: Path) -> None:
    port = virtual.boards["hut-01"].serial
    esptool(port, build, "no-reset")
    line = serial.serial_for_url(port, do_not_open=True, baudrate=115200, timeout=0.1)
    line.dtr = line.rts = False
    line.open()
    line.rts = True
    time.sleep(0.1)
    line.rts = False
    wait_for_ready(line)


def esptool(port: str, build: Path, after: str) -> None:
    call(write_flash(port, build, after), cwd=build)


def write_flash(port: str, build: Path, after: str) -> list[str]:
    """`write-flash` of the whole build with the options that `idf.py flash` uses."""
    files = json.loads((build / "flasher_args.json").read_text())["flash_files"]
    parts = [word for offset, name in files.items() for word in (offset, name)]
    settings = ["--flash-mode", "dio", "--flash-freq", "40m", "--flash-size", "4MB"]
    port_and_baud = ["--chip", "esp32", "--port", port, "--baud", str(BAUD), "--after", after]
    return [str(BIN / "esptool"), *port_and_baud, "write-flash", *settings, *parts]


def wait_for_ready(line: Any) -> None:
    seen = b""
    with line:
        deadline = time.monotonic() + 20
        while READY.encode() not in seen:
            assert time.monotonic() < deadline, f"the board did not get ready: {seen[-500:]!r}"
            seen += line.read(max(1, line.in_waiting))


def hut_ci(virtual: VirtualLab, build: Path) -> None:
    hut = virtual.folder / "hut.yml"
    hut.write_text(f'suite: {{expect: ["{READY}"]}}\n')
    words = ["run", str(build), "--hut", str(hut), "--lab", str(virtual.lab_yml), "--out", str(virtual.folder / "out")]
    call([str(BIN / "hut-ci"), *words, "--progress", "none"])


def pytest_embedded(virtual: VirtualLab, build: Path) -> None:
    test = virtual.folder / "test_bench.py"
    test.write_text(f"def test_ready(dut):\n    dut.expect_exact({READY!r}, timeout=20)\n")
    port = virtual.boards["hut-01"].serial
    words = ["--embedded-services", "esp,idf", "--app-path", str(build.parent), "--build-dir", build.name]
    words += [
        "--port",
        port,
        "--target",
        "esp32",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(test.parent),
    ]
    call([sys.executable, "-m", "pytest", str(test), *words], cwd=virtual.folder)


def call(argv: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}\nended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


# --- the figures ----------------------------------------------------------------------------------------

# what → (of, by, aim): the ratio of two medians and what it should not exceed
RATIOS = {
    "first flash on a pty, to esptool": ("pty hut-ci first", "pty esptool first", 1.05),
    "next build on a pty, to esptool": ("pty hut-ci next build", "pty esptool next build", None),
    "unchanged on a pty, to its first": ("pty hut-ci unchanged", "pty hut-ci first", 0.25),
    "first flash over RFC2217, to esptool": ("rfc2217 hut-ci first", "rfc2217 esptool first", 0.4),
    "first flash over RFC2217, to pytest-embedded": ("rfc2217 hut-ci first", "rfc2217 pytest-embedded first", None),
    "unchanged over RFC2217, to pytest-embedded": (
        "rfc2217 hut-ci unchanged",
        "rfc2217 pytest-embedded unchanged",
        None,
    ),
    "first byte from GitHub, warm cache, to esptool": ("first byte hut-ci github", "first byte esptool", None),
    "first byte from GitLab, warm cache, to esptool": ("first byte hut-ci gitlab", "first byte esptool", None),
}
# what → (figure, the most that it should be)
CALLS = {
    "calls of one resolve on GitHub": ("calls of one resolve github", 3),
    "on GitLab": ("calls of one resolve gitlab", 3),
    "calls of `watch` that finds nothing": ("watch calls of an idle look", 2),
    "of them, those that count": ("watch calls of an idle look that count", 0),
    "calls of `watch` for a push": ("watch calls of a push", None),
    "for a comment": ("watch calls of a comment", None),
    "for a label": ("watch calls of a label", None),
}


# figures that stand for themselves → the most seconds that each should take
BOUNDS = {
    "slot hand-over median": None,
    "slot hand-over p99": None,
    "power cycle over off + on + boot": 0.3,
    "slowest power cycle over the same": None,
    "action on a new host": None,
    "action over its command": 0.5,
}


def report(medians: dict[str, float], rounds: int) -> None:
    """Print the tables, and keep the same figures as JSON."""
    console = Console(width=100)
    times = Table("median of " + str(rounds), "s", title="Seconds, simulated board")
    for what, seconds in medians.items():
        times.add_row(what, f"{seconds:.3f}" if what in BOUNDS else f"{seconds:.2f}")
    console.print(times)
    ratios: dict[str, float] = {}
    table = Table("ratio", "measured", "aim")
    for what, (of, by, aim) in RATIOS.items():
        if of in medians and by in medians:
            ratios[what] = round(medians[of] / medians[by], 3)
            table.add_row(what, f"{ratios[what]:.2f}", "" if aim is None else f"<= {aim}")
    for what, (name, most_calls) in CALLS.items():
        if name in medians:
            table.add_row(what, f"{medians[name]:.0f}", "" if most_calls is None else f"<= {most_calls}")
    if "start python" in medians:
        over = round((medians["start hut-ci --version"] - medians["start python"]) * 1000)
        ratios["hut-ci --version over a bare interpreter, ms"] = over
        table.add_row("hut-ci --version over a bare interpreter", f"{over} ms", "<= 100 ms")
    for what, most in BOUNDS.items():
        if what in medians:
            aim = "" if most is None else f"<= {1000 * most:.0f} ms"
            table.add_row(what, f"{1000 * medians[what]:.0f} ms", aim)
    console.print(table)
    document = {"rounds": rounds, "machine": platform.platform(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**document, "seconds": medians, "ratios": ratios}, indent=2)
    (RESULTS / "latest.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
