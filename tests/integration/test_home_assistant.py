"""Power through a real Home Assistant: every answer, every proof, and nobody who leaves a relay off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from power_answers import ANSWERS
from real_home_assistant import HomeAssistant, Plugs, missing

from hut_ci.claims.flock import claim
from hut_ci.config import load_lab
from hut_ci.deadline import Deadline
from hut_ci.model import Claim, Lab, PowerResult, Slot
from hut_ci.power.choose import choose
from hut_ci.power.intent import intent_path, write_intent
from hut_ci.power.wiring import cycle_slot
from hut_ci.stages.power_cycle import WINDOWS, Windows
from hut_ci.stages.slot import Note
from hut_ci.virtual.images import build_folder
from hut_ci.virtual.lab import VirtualLab

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("home-assistant"),
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

PATIENCE = 120.0
QUICK = Windows(gone=0.6, back=1.5)  # for cycles that are expected to show no proof
HUT_CI = Path(sys.executable).with_name("hut-ci")


@pytest.fixture(scope="module")
def plugs() -> Iterator[Plugs]:
    plugs = Plugs()
    yield plugs
    plugs.close()


@pytest.fixture(scope="module")
def server(plugs: Plugs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HomeAssistant]:
    """One Home Assistant for all tests of this file; who kills it starts it again."""
    with HomeAssistant(tmp_path_factory.mktemp("ha") / "config", plugs) as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Bench:
    """A virtual lab whose boards hang on the real Home Assistant's switches; `lab_yml` says so."""

    def __init__(self, stack: ExitStack, folder: Path, server: HomeAssistant, plugs: Plugs, **options: Any) -> None:
        options = {"slots": 1, "transport": "pty", **options}
        self.entity = options.pop("entity", None)
        self.power = {"off": 0.2, "on": 0.1, "cooldown": 0, "retries": 0, "timeout": 10, **options.pop("power", {})}
        self.virtual = stack.enter_context(VirtualLab(folder=folder, **options))
        self.boards = self.virtual.boards
        self.plugs, self.server = plugs, server
        plugs.wire({name: board.power for name, board in self.boards.items()})
        stack.callback(plugs.wire, {})
        server.wait_until_all_on()
        self.lab_yml = folder / "real.yml"
        self.write(server.url, server.token)

    def write(self, url: str, token: str) -> None:
        secret = self.virtual.folder / "secrets" / "real"
        secret.write_text(token + "\n")
        secret.chmod(0o600)
        document = yaml.safe_load(self.virtual.lab_yml.read_text())
        document["home_assistant"] = {"url": url, "token_file": str(secret), "domains": ["switch", "sensor"]}
        for number, slot in enumerate(document["slots"].values(), 1):
            slot["power"] |= {"entity": self.entity or f"switch.slot_{number}", **self.power}
        self.lab_yml.write_text(yaml.safe_dump(document, sort_keys=False))

    @property
    def lab(self) -> Lab:
        return load_lab(self.lab_yml)

    def cycle(self, windows: Windows = WINDOWS) -> PowerResult:
        lab = self.lab
        with claimed(lab, lab.slots[0]) as claims:
            switch = choose(lab, lab.slots[0], {})
            return cycle_slot(lab, lab.slots[0], claims, switch, Deadline(PATIENCE), windows=windows)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(HUT_CI), *argv, "--lab", str(self.lab_yml)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def __call__(self, *argv: str) -> subprocess.CompletedProcess[str]:
        with self.start(*argv) as running:
            out, err = running.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(argv, running.returncode, out, err)


@contextmanager
def claimed(lab: Lab, *slots: Slot) -> Iterator[Mapping[str, Claim]]:
    with ExitStack() as held:
        yield {
            slot.id: held.enter_context(claim(lab, slot, note=Note("test"), deadline=Deadline(PATIENCE)))
            for slot in slots
        }


BenchOf = Callable[..., Bench]


@pytest.fixture
def bench_of(stack: ExitStack, tmp_path: Path, server: HomeAssistant, plugs: Plugs) -> BenchOf:
    return lambda **options: Bench(stack, tmp_path / "lab", server, plugs, **options)


# --- proofs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["pty", "rfc2217"])
@pytest.mark.parametrize("wiring", ["with_board", "self_powered"])
def test_cycle_is_proven(bench_of: BenchOf, wiring: str, transport: str) -> None:
    """WS9-6, WS9-10: off, wait, on, each read back, and the board loses its power in between."""
    bench = bench_of(power_wiring=wiring, transport=transport)
    result = bench.cycle()
    assert (result.result, result.detail, result.proven) == ("ok", "ok", True), result
    assert bench.plugs.switched("hut-01") == ["off", "on"]
    assert bench.boards["hut-01"].powered


@pytest.mark.parametrize(
    "options",
    [
        {"entity": "switch.lying"},
        {"entity": "switch.lying", "power_wiring": "self_powered"},
        {"entity": "switch.lying", "power_wiring": "self_powered", "faults": {"hut-01": ("silent",)}},
        {"faults": {"hut-01": ("ignores_power",)}},
        {"faults": {"hut-01": ("ignores_power",)}, "power_wiring": "self_powered"},
        {"faults": {"hut-01": ("ignores_power", "boot_loop")}, "power_wiring": "self_powered"},
    ],
    ids=["lying-port", "lying-banner", "lying-silent", "usb-fed-port", "usb-fed-banner", "usb-fed-boot-loop"],
)
def test_a_lie_is_never_ok_where_the_slot_has_a_proof(bench_of: BenchOf, options: dict[str, Any]) -> None:
    """WS9-6: a switch that shows what it was asked, a board that ignores its plug, and one that was silent before."""
    result = bench_of(**options).cycle(QUICK)
    assert (result.result, result.detail, result.proven) == ("ha_error", "not_proven", False)


def test_without_a_proof_a_lie_is_ok_and_unproven(bench_of: BenchOf) -> None:
    """The negative control."""
    result = bench_of(entity="switch.lying", power={"proof": "none"}).cycle()
    assert (result.result, result.detail, result.proven) == ("ok", "unproven", False)


def test_power_test_finds_the_proof(bench_of: BenchOf) -> None:
    bench = bench_of(power_wiring="self_powered", power={"proof": "none"})
    found = bench("power", "test", "hut-01", "--write", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["proof"] == "banner"
    assert bench.lab.slots[0].power.proof == "banner"


# --- every answer -------------------------------------------------------------------------------------------

ENTITIES = {
    "unknown": "switch.missing",
    "unavailable": "switch.gone",
    "ignored": "switch.deaf",
    "stuck": "switch.stuck",
    "slow": "switch.slow",
    "lying": "switch.lying",
    "server_error": "switch.broken",
    "no_service": "sensor.fixed",
}
WAITED_OUT = {"ignored": 3, "stuck": 3, "slow": 1.5}
"""Answers that are only told at the slot's time-out; `slow` has to come before its command acts, after 2.5 s."""
ELSEWHERE = {"unauthorized", "read_only", "banned", "refused", "starting"}


def test_the_whole_table_is_played() -> None:
    assert set(ENTITIES) | ELSEWHERE == set(ANSWERS)


@pytest.mark.parametrize("answer", ENTITIES)
def test_each_answer_has_its_result(bench_of: BenchOf, answer: str) -> None:
    """WS9-5, WS9-7; and WS9-9: whatever happens, the board has power in the end."""
    bench = bench_of(entity=ENTITIES[answer], power={"timeout": WAITED_OUT.get(answer, 20)})
    result = bench.cycle(QUICK)
    assert (result.result, result.detail) == ANSWERS[answer], result
    if answer == "slow":  # its commands are still on their way; the last one is `on`
        bench.plugs.events.wait_for("on", PATIENCE)
    assert bench.boards["hut-01"].powered
    lab = bench.lab
    assert not intent_path(lab.state_dir, lab.slots[0].id).exists()


def test_a_switch_whose_command_fails_is_ignored(bench_of: BenchOf) -> None:
    """WS9-7: Home Assistant only writes a line into its log, and answers 200."""
    result = bench_of(entity="switch.failing", power={"timeout": 3}).cycle(QUICK)
    assert (result.result, result.detail) == ANSWERS["ignored"]


def test_a_wrong_token(bench_of: BenchOf, server: HomeAssistant) -> None:
    """WS9-7, WS9-11: 401 at once, and the token stands in no word of the answer."""
    bench = bench_of()
    wrong = f"{server.token[:-8]}AAAAAAAA"
    bench.write(server.url, wrong)
    done = bench("power", "cycle", "hut-01", "--json")
    assert done.returncode == 7
    document = json.loads(done.stdout)
    assert (document["result"], document["detail"]) == ANSWERS["unauthorized"]
    assert wrong not in done.stdout + done.stderr
    assert bench.plugs.switched("hut-01") == []


def test_a_user_who_may_only_look(bench_of: BenchOf, server: HomeAssistant) -> None:
    """WS9-7: it can read the state, and its call is answered 401; nothing was switched, and nothing is left behind."""
    bench = bench_of(power={"retries": 2})
    bench.write(server.url, server.looking)
    result = bench.cycle()
    assert (result.result, result.detail) == ANSWERS["read_only"]
    assert "may still be off" not in result.text
    assert bench.plugs.switched("hut-01") == []
    assert not intent_path(bench.lab.state_dir, "hut-01").exists()


def test_a_banned_host(stack: ExitStack, tmp_path: Path, plugs: Plugs) -> None:
    """WS9-7, WS9-9: after too many bad tokens 403 for everything, good tokens included; hut-ci itself asks once only.

    So does the timer that looks every minute for what a killed cycle left off.
    """
    with HomeAssistant(tmp_path / "config", plugs, ban_after=3) as strict:
        bench = Bench(stack, tmp_path / "lab", strict, plugs, power={"retries": 3})
        bench.write(strict.url, "wrong")
        assert bench.cycle().detail == "unauthorized"
        bench.write(strict.url, strict.token)
        assert bench.cycle().result == "ok", "one bad token in a cycle with retries is one bad token"
        bench.write(strict.url, "revoked")
        slot = bench.lab.slots[0]
        write_intent(bench.lab.state_dir, slot.id, choose(bench.lab, slot, {}))
        assert [bench("power", "repair").returncode for _ in range(4)] == [7] * 4
        bench.write(strict.url, strict.token)
        assert bench("power", "repair").returncode == 0, "four calls of the timer were one bad token"
        for _ in range(3):
            assert not requests.get(f"{strict.url}/api/", headers={"Authorization": "Bearer wrong"}, timeout=10).ok
        result = bench.cycle()
    assert (result.result, result.detail) == ANSWERS["banned"]


def test_home_assistant_stopped_and_starting(bench_of: BenchOf, server: HomeAssistant) -> None:
    """WS9-7: down is `unreachable`; while it starts it is waited for, as long as the slot's time-out says."""
    bench = bench_of(power={"timeout": 60})
    server.kill()
    down = bench.cycle()
    assert (down.result, down.detail) == ANSWERS["refused"]
    server.start(wait=False)
    server.wait_until("")
    result = bench.cycle()
    server.wait_until("RUNNING")
    assert (result.result, result.detail) == ("ok", "ok"), result


def test_starting_has_a_name(bench_of: BenchOf, server: HomeAssistant) -> None:
    """WS9-7: with little time to wait the answer says why; where it is ready already, there is nothing to say."""
    bench = bench_of(power={"timeout": 0.5})
    server.kill()
    server.start(wait=False)
    server.wait_until("")
    result = bench.cycle()
    server.wait_until("RUNNING")
    assert (result.result, result.detail) in (ANSWERS["starting"], ANSWERS["unavailable"], ("ok", "ok")), result
    assert bench.boards["hut-01"].powered


# --- retries, cooldown, a run -------------------------------------------------------------------------------


def test_retries_are_bounded(bench_of: BenchOf) -> None:
    """WS9-3: one more try is one more try."""
    bench = bench_of(entity="switch.lying", power={"retries": 1})
    result = bench.cycle(QUICK)
    assert (result.detail, "(2 tries)" in result.text) == ("not_proven", True), result


def test_cooldown_is_kept_across_processes(bench_of: BenchOf) -> None:
    """WS9-4."""
    bench = bench_of(power={"cooldown": 3600})
    assert bench("power", "cycle", "hut-01").returncode == 0
    second = json.loads(bench("power", "cycle", "hut-01", "--json", "--within", "2").stdout)
    assert (second["result"], second["detail"]) == ("timeout", "cooldown")
    assert bench.plugs.switched("hut-01") == ["off", "on"]


def test_a_run_recovers_its_board(bench_of: BenchOf, tmp_path: Path) -> None:
    """CARD-5, WS9-10: a CI job asks for it by what its board does, and the board boots again."""
    bench = bench_of(faults={"hut-01": ("needs_power_cycle",)})
    build = build_folder(tmp_path / "build")
    done = bench("run", str(build), "--slot", "hut-01", "--out", str(tmp_path / "out"), "--progress", "none")
    assert done.returncode == 0, done
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["hardware"]["power_cycle_count"] == 1
    assert bench.plugs.switched("hut-01") == ["off", "on"]
    everything = "".join(path.read_text("utf-8", "replace") for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert bench.server.token not in everything + done.stdout + done.stderr


# --- slots beside each other --------------------------------------------------------------------------------


def test_one_slot_is_serialised_two_slots_overlap(bench_of: BenchOf, stack: ExitStack) -> None:
    """WS9-1, WS9-2, WS9-8: while the first one's relay is off, the second waits and the third is done."""
    bench = bench_of(slots=2, power={"timeout": 60})
    bench.plugs.hold_at("off")
    first = stack.enter_context(bench.start("power", "cycle", "hut-01", "--off-seconds", "0.3", "--on-seconds", "0.1"))
    bench.plugs.events.wait_for("held", PATIENCE)
    assert bench("power", "cycle", "hut-01").returncode == 4
    assert (bench.virtual.folder / "locks" / "hut-01.lock").exists()
    second = stack.enter_context(bench.start("power", "cycle", "hut-01", "--wait", "60"))
    assert second.stderr is not None
    assert "is held by" in second.stderr.readline()
    assert bench("power", "cycle", "hut-02").returncode == 0
    bench.plugs.release()
    assert [process.wait(PATIENCE) for process in (first, second)] == [0, 0]
    assert bench.plugs.switched("hut-01") == ["off", "on", "off", "on"]
    assert bench.plugs.switched("hut-02") == ["off", "on"]


# --- kills --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_killed_between_off_and_on(bench_of: BenchOf, stack: ExitStack, number: signal.Signals) -> None:
    """WS9-9: the relay is on again, then the slot can be claimed, and nothing is left to repair."""
    bench = bench_of(power={"timeout": 15})  # for so long the guardian keeps the slot
    bench.plugs.hold_at("off")
    process = stack.enter_context(bench.start("power", "cycle", "hut-01"))
    bench.plugs.events.wait_for("held", PATIENCE)
    assert not bench.boards["hut-01"].powered
    os.killpg(process.pid, number)
    bench.plugs.events.wait_for("on", PATIENCE)
    bench.plugs.release()
    lab = bench.lab
    with claimed(lab, lab.slots[0]):
        assert bench.boards["hut-01"].powered
        assert not intent_path(lab.state_dir, "hut-01").exists()
    assert process.wait(PATIENCE) == {9: -9, 15: 143, 2: 130}[number]


@pytest.mark.parametrize("kill_hut_ci", [False, True], ids=["alone", "with-hut-ci"])
def test_home_assistant_killed_and_restarted_in_mid_cycle(
    bench_of: BenchOf, stack: ExitStack, server: HomeAssistant, kill_hut_ci: bool
) -> None:
    """WS9-7, WS9-9: the power is off, nobody can switch it on, and somebody does as soon as there is a way."""
    bench = bench_of(power={"timeout": 20, "retries": 1})
    bench.plugs.hold_at("off")
    process = stack.enter_context(bench.start("power", "cycle", "hut-01", "--json"))
    bench.plugs.events.wait_for("held", PATIENCE)
    server.kill()
    if kill_hut_ci:
        process.kill()
    bench.plugs.release()
    server.start()
    bench.plugs.events.wait_for("on", PATIENCE)
    code = process.wait(PATIENCE)
    lab = bench.lab
    with claimed(lab, lab.slots[0]):
        assert bench.boards["hut-01"].powered
        assert not intent_path(lab.state_dir, "hut-01").exists()
    if not kill_hut_ci:
        assert process.stdout is not None
        assert (code, json.loads(process.stdout.read())["result"]) == (0, "ok"), "the second try has its Home Assistant"


def test_the_token_is_nowhere(bench_of: BenchOf, server: HomeAssistant) -> None:
    """WS9-11: not in argv or environment of any process while the power is off, nor in what is left behind."""
    bench = bench_of()
    bench.plugs.hold_at("off")
    with bench.start("power", "cycle", "hut-01") as process:
        bench.plugs.events.wait_for("held", PATIENCE)
        family = [process.pid, *_children(process.pid)]
        shown = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in family for name in ("cmdline", "environ")]
        assert len(family) > 1, "the guardian is there"
        bench.plugs.release()
        out, err = process.communicate(timeout=PATIENCE)
    state = [path.read_bytes() for path in bench.lab.state_dir.rglob("*") if path.is_file()]
    assert server.token.encode() not in b"\n".join([*shown, *state, out.encode(), err.encode()])


def _children(pid: int) -> list[int]:
    return [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
