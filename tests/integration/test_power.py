"""Power through the virtual relay: every answer of Home Assistant, every proof, and nobody who leaves a relay off."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from power_answers import ANSWERS

from hut_ci import proc
from hut_ci.claims.flock import claim
from hut_ci.config import load_lab
from hut_ci.credentials import Token
from hut_ci.deadline import Deadline
from hut_ci.errors import PowerError
from hut_ci.model import Claim, HomeAssistant, Lab, PowerResult, Slot
from hut_ci.power.choose import choose
from hut_ci.power.command import CommandSwitch
from hut_ci.power.find_proof import find_proof
from hut_ci.power.group import group_of
from hut_ci.power.guardian import Guardian
from hut_ci.power.home_assistant import HomeAssistantSwitch, open_switch
from hut_ci.power.intent import intent_path, repair, switch_back, write_intent
from hut_ci.power.rescue import in_flight
from hut_ci.power.wiring import cycle_for_run, cycle_slot
from hut_ci.stages.power_cycle import WINDOWS, Windows
from hut_ci.stages.slot import Note
from hut_ci.virtual.lab import VirtualLab

PATIENCE = 60.0
QUICK = Windows(gone=0.6, back=1.5)  # for cycles that are expected to show no proof
HUT_CI = Path(sys.executable).with_name("hut-ci")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_lab(stack: ExitStack, folder: Path, **options: Any) -> tuple[VirtualLab, Lab, Slot]:
    options = {"slots": 1, "transport": "pty", **options}
    options["power"] = {"retries": 0, "timeout": 10, **options.get("power", {})}
    virtual = stack.enter_context(VirtualLab(folder=folder, **options))
    lab = load_lab(virtual.lab_yml)
    return virtual, lab, lab.slots[0]


@contextmanager
def claimed(lab: Lab, *slots: Slot) -> Iterator[Mapping[str, Claim]]:
    with ExitStack() as held:
        yield {
            slot.id: held.enter_context(claim(lab, slot, note=Note("test"), deadline=Deadline(PATIENCE)))
            for slot in slots
        }


def cycle(lab: Lab, slot: Slot, windows: Windows = WINDOWS) -> PowerResult:
    with claimed(lab, slot) as claims:
        return cycle_slot(lab, slot, claims, choose(lab, slot, {}), Deadline(PATIENCE), windows=windows)


def hut_ci(virtual: VirtualLab, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [str(HUT_CI), *argv, "--lab", str(virtual.lab_yml)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


# --- proofs -------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("transport", ["pty", "rfc2217"])
@pytest.mark.parametrize("wiring", ["with_board", "self_powered"])
def test_cycle_is_proven(stack: ExitStack, tmp_path: Path, wiring: str, transport: str) -> None:
    """WS9-6, WS9-10: the board really loses its power, and the slot's proof shows it."""
    virtual, lab, slot = a_lab(stack, tmp_path, transport=transport, power_wiring=wiring)
    result = cycle(lab, slot)
    assert (result.result, result.detail, result.proven) == ("ok", "ok", True), result
    assert virtual.relay.switched() == ["off", "on"]
    assert [e.name for e in virtual.boards["hut-01"].events if e.name.startswith("power_")][-2:] == [
        "power_off",
        "power_on",
    ]
    assert not intent_path(lab.state_dir, slot.id).exists()


@pytest.mark.real
@pytest.mark.parametrize(
    ("wiring", "faults"),
    [
        *((wiring, faults) for wiring in ("with_board", "self_powered") for faults in ((), ("boot_loop",))),
        ("self_powered", ("silent",)),
    ],
)
def test_a_plug_that_switches_something_else_is_not_proven(
    stack: ExitStack, tmp_path: Path, wiring: str, faults: tuple[str, ...]
) -> None:
    """Design decision 5: a board that is fed otherwise never makes a cycle `ok`, whether it prints or was silent."""
    options = {"faults": {"hut-01": ("ignores_power", *faults)}, "power_wiring": wiring, "transport": "pty"}
    _, lab, slot = a_lab(stack, tmp_path, **options)
    result = cycle(lab, slot, QUICK)
    assert (result.result, result.detail, result.proven) == ("ha_error", "not_proven", False)


def test_without_proof_the_lie_is_believed_and_marked(stack: ExitStack, tmp_path: Path) -> None:
    """The negative control of the test above."""
    _, lab, slot = a_lab(stack, tmp_path, faults={"hut-01": ("ignores_power",)}, power={"proof": "none"})
    result = cycle(lab, slot)
    assert (result.result, result.detail, result.proven) == ("ok", "unproven", False)


# --- every answer of Home Assistant -------------------------------------------------------------------------

DETAILS = {
    **ANSWERS,
    "lying_off": ("ha_error", "not_proven"),
    "server_error_on:1": ("ha_error", "server_error"),
}
WAITED_OUT = {"starting": 1, "ignored": 2, "stuck": 2, "slow": 1}
"""Faults that are only told at the slot's time-out; for those it is short, and no other answer may come too late."""


@pytest.mark.parametrize("fault", DETAILS)
def test_each_fault_has_its_result(stack: ExitStack, tmp_path: Path, fault: str) -> None:
    """WS9-5, WS9-7; and WS9-9: whatever happens, the board has power in the end."""
    options = {"power": {"timeout": WAITED_OUT.get(fault, 10)}, "slow_seconds": 1.5}
    virtual, lab, slot = a_lab(stack, tmp_path, relay_faults=[fault], **options)
    result = cycle(lab, slot, QUICK)
    assert (result.result, result.detail) == DETAILS[fault], result
    assert result.text
    assert "may still be off" not in result.text
    assert virtual.boards["hut-01"].powered
    assert not intent_path(lab.state_dir, slot.id).exists()


@pytest.mark.parametrize("fault", ["read_only", "no_service"])
def test_a_call_that_is_refused_leaves_nothing_to_switch_back(stack: ExitStack, tmp_path: Path, fault: str) -> None:
    """WS9-7: the relay was not asked for anything; and a second bad call brings a ban nearer."""
    virtual, lab, slot = a_lab(stack, tmp_path, relay_faults=[f"{fault}:1"])
    assert cycle(lab, slot).detail == ANSWERS[fault][1]
    assert [event.name for event in virtual.relay.events if event.name.startswith("call")] == []


def test_a_home_assistant_that_is_starting_is_waited_for(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-7: it answers long before it knows its entities; the cycle begins when it does."""
    virtual, lab, slot = a_lab(stack, tmp_path, relay_faults=["starting:6"])
    assert cycle(lab, slot).result == "ok"
    assert virtual.relay.switched() == ["off", "on"]


def test_an_entity_that_is_off_already_is_fine(stack: ExitStack, tmp_path: Path) -> None:
    """200 [] is an answer, too, when the state reads right."""
    virtual, lab, slot = a_lab(stack, tmp_path, power={"proof": "none"})
    virtual.relay.switch(virtual.entity("hut-01"), False)
    assert cycle(lab, slot).result == "ok"
    assert virtual.boards["hut-01"].powered


def test_a_retry_succeeds_after_a_passing_fault(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-3."""
    virtual, lab, slot = a_lab(stack, tmp_path, relay_faults=["server_error:1"], power={"retries": 1})
    assert cycle(lab, slot).result == "ok"
    assert virtual.relay.switched() == ["off", "on"]


@pytest.mark.real
def test_cooldown_between_two_cycles(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-4: the second cycle, by whichever process, waits or gives up at its deadline."""
    virtual, lab, slot = a_lab(stack, tmp_path, power={"cooldown": 3600})
    assert cycle(lab, slot).result == "ok"
    second = json.loads(hut_ci(virtual, "power", "cycle", "hut-01", "--json", "--within", "30").stdout)
    assert (second["result"], second["detail"]) == ("timeout", "cooldown")
    assert virtual.relay.switched() == ["off", "on"]


@pytest.mark.parametrize("entity", ["lock.front_door", "switch.a/../../b", "switch.a b", "switch", ""])
def test_entities_that_may_not_be_switched(entity: str) -> None:
    """Security 17."""
    with pytest.raises(PowerError) as refused:
        open_switch(HomeAssistant("http://127.0.0.1:1"), entity, Token("t"), 1.0)
    assert refused.value.fields["detail"] == "forbidden_entity"


# --- strange servers ----------------------------------------------------------------------------------------


@contextmanager
def raw_server(*pieces: bytes, pause: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every connection with `pieces`, `pause` seconds apart; yields address and requests."""
    heard: list[bytes] = []
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536))
                    for piece in pieces:
                        try:
                            connection.sendall(piece)
                        except OSError:
                            break
                        ending.wait(pause)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            ending.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        (answer("200 OK", b"<html>router login</html>"), "bad_answer"),
        (answer("200 OK", b"[" * 300000), "unreachable"),
        (answer("200 OK", b"[" * 200000), "bad_answer"),
        (answer("200 OK", b"9" * 200000), "bad_answer"),
        (answer("503 Starting", b"", "Retry-After: \xb2"), "busy"),
        (answer("200 OK", b'["not a state"]'), "unavailable"),
        (answer("429 Slow Down", b"", "Retry-After: 9"), "busy"),
        (answer("503 Starting", b""), "busy"),
        (answer("418 Teapot", b""), "server_error"),
        (answer("302 Found", b"", "Location: http://["), "redirected"),
        (answer("302 Found", b"", "Location: \xff\xfe"), "redirected"),
        (answer("200 OK", b"{}", "Content-Encoding: gzip"), "unreachable"),
        (answer("200 OK", b"\xff\xfe"), "bad_answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unreachable"),
        (b"", "unreachable"),
    ],
)
def test_strange_answers(reply: bytes, detail: str) -> None:
    """Security 21: bounded, and each with its own name."""
    with raw_server(reply) as (url, _), pytest.raises(PowerError) as failed:
        HomeAssistantSwitch(url, "switch.a", Token("t"), PATIENCE).exists(Deadline(PATIENCE))
    assert failed.value.fields["detail"] == detail
    assert failed.value.fields.get("retry_after") == ("9" if b"Retry-After: 9" in reply else None)


HEAD = b"HTTP/1.1 200 OK\r\n"
DROPS = 600
DRIPS = {
    "body": [HEAD + b"Content-Length: 1000\r\n\r\n", *[b"x"] * DROPS],
    "header": [HEAD + b"X-Drip: ", *[b"x"] * DROPS],
    "chunk size": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", *[b"x"] * DROPS],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n"] * DROPS,
}


@pytest.mark.parametrize("drips", DRIPS)
def test_a_dripping_server_does_not_outlast_the_timeout(drips: str) -> None:
    """Security 21: the time limit is for the whole answer, not for each of its bytes."""
    with raw_server(*DRIPS[drips], pause=0.1) as (url, _):
        began = time.monotonic()
        with pytest.raises(PowerError) as failed:
            HomeAssistantSwitch(url, "switch.a", Token("t"), 0.5).exists(Deadline(PATIENCE))
        took = time.monotonic() - began
    assert failed.value.fields["detail"] == "slow"
    assert took < DROPS * 0.1 / 2, "it would drip for a minute"


def test_the_token_goes_to_no_other_address() -> None:
    """Security 16: redirects are not followed."""
    with raw_server(answer("200 OK", b'{"state": "on"}')) as (other, heard):
        reply = answer("307 Temporary Redirect", b"", f"Location: {other}/api/states/switch.a")
        with raw_server(reply) as (url, asked), pytest.raises(PowerError) as failed:
            HomeAssistantSwitch(url, "switch.a", Token("canary-token"), PATIENCE).exists(Deadline(PATIENCE))
    assert failed.value.fields["detail"] == "redirected"
    assert b"Bearer canary-token" in asked[0]
    assert heard == []


def test_neither_proxy_nor_netrc_touches_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Security 16."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with (
        raw_server(answer("500 Proxy", b"")) as (proxy, intercepted),
        raw_server(answer("200 OK", b'{"state": "on"}')) as (url, heard),
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        HomeAssistantSwitch(url, "switch.a", Token("canary-token"), PATIENCE).exists(Deadline(PATIENCE))
    assert b"Authorization: Bearer canary-token\r\n" in heard[0]
    assert intercepted == []


# --- the token is nowhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", "unauthorized", "refused", "slow"])
def test_token_canary(
    stack: ExitStack, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """WS9-11, security 15: not in results, exceptions, logs, output, state files, nor argv and environ of children."""
    caplog.set_level("DEBUG")
    options = {"relay_faults": [fault] if fault else [], "power": {"timeout": 1}, "slow_seconds": 1.5}
    virtual, lab, slot = a_lab(stack, tmp_path / "lab", **options)
    token = virtual.relay.token
    switch = choose(lab, slot, {})
    said = [repr(switch), repr(lab)]
    guardians: list[str] = []
    with claimed(lab, slot) as claims:
        virtual.relay.hold_at("off")
        watcher = threading.Thread(target=lambda: guardians.extend(_children_once_held(virtual, fault)))
        watcher.start()
        said.append(repr(cycle_slot(lab, slot, claims, switch, Deadline(PATIENCE), windows=QUICK)))
        watcher.join()
    try:
        switch.off(Deadline(PATIENCE))
    except PowerError as error:
        said += traceback.format_exception(error)
    said += [record.getMessage() for record in caplog.records]
    said += [path.read_text() for path in lab.state_dir.iterdir()]
    said += [*capfd.readouterr(), *guardians]
    assert said
    assert guardians or fault not in ("", "slow")
    assert token not in "\n".join(said)


def _children_once_held(virtual: VirtualLab, fault: str) -> Sequence[str]:
    """argv and environment of our children while the power is off."""
    if fault not in ("", "slow"):
        return ()
    virtual.relay.wait_for("held", PATIENCE)
    try:
        children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
        pids = [pid for file in children for pid in file.read_text().split()]
        return [
            (Path("/proc") / pid / name).read_text(errors="replace") for pid in pids for name in ("cmdline", "environ")
        ]
    finally:
        virtual.relay.release()


# --- kills --------------------------------------------------------------------------------------------------


@pytest.fixture
def cycling(
    stack: ExitStack, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[VirtualLab, Lab, Slot, subprocess.Popen[str]]:
    """`hut-ci power cycle` at its most dangerous moment: the power is off, and it does not know yet.

    It waits for the answer as long as the guardian keeps the slot afterwards: 6 s, or what the test says.
    """
    virtual, lab, slot = a_lab(stack, tmp_path, power={"timeout": getattr(request, "param", 6)})
    virtual.relay.hold_at("off")
    argv = [str(HUT_CI), "power", "cycle", "hut-01", "--lab", str(virtual.lab_yml)]
    process = stack.enter_context(
        subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    )
    stack.callback(process.kill)
    virtual.relay.wait_for("held", PATIENCE)
    assert not virtual.boards["hut-01"].powered
    return virtual, lab, slot, process


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_killed_between_off_and_on(
    cycling: tuple[VirtualLab, Lab, Slot, subprocess.Popen[str]], number: signal.Signals
) -> None:
    """WS9-9: the relay is on again, then the slot can be claimed, and nothing is left to repair."""
    virtual, lab, slot, process = cycling
    assert intent_path(lab.state_dir, slot.id).exists()
    os.killpg(process.pid, number)  # what Ctrl-C and CI runners do: the whole group
    virtual.relay.wait_for("on", PATIENCE)
    virtual.relay.release()
    with claimed(lab, slot):
        assert virtual.boards["hut-01"].powered
        assert not intent_path(lab.state_dir, slot.id).exists()
    assert process.wait(PATIENCE) == {9: -9, 15: 143, 2: 130}[number]


@pytest.mark.real
def test_a_killed_cycle_keeps_the_slot_until_the_relay_is_on(
    cycling: tuple[VirtualLab, Lab, Slot, subprocess.Popen[str]],
) -> None:
    """Design decision 2: the guardian inherits the lock, so that nobody starts on a board without power."""
    virtual, lab, slot, process = cycling
    virtual.relay.hold_at("call_on")
    process.kill()
    virtual.relay.wait_for("held", PATIENCE, count=2)
    busy = hut_ci(virtual, "power", "on", "hut-01")
    assert busy.returncode == 4, busy.stderr
    virtual.relay.release()
    with claimed(lab, slot):
        assert virtual.boards["hut-01"].powered


@pytest.mark.real
@pytest.mark.parametrize("cycling", [50], indirect=True, ids=["patient"])
def test_the_guardian_is_deaf_to_signals_but_not_immortal(
    cycling: tuple[VirtualLab, Lab, Slot, subprocess.Popen[str]],
) -> None:
    """Both killed: the record stays, and the next command on the slot repairs it and says so."""
    virtual, lab, slot, process = cycling
    (guardian,) = [
        int(pid) for file in Path(f"/proc/{process.pid}/task").glob("*/children") for pid in file.read_text().split()
    ]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(guardian, number)
    assert proc.name(guardian) == proc.GUARDIAN  # so that whoever ends all that a command started leaves it alone
    state = hut_ci(virtual, "power", "status", "hut-01", "--json")
    shown = json.loads(state.stdout)
    assert (shown["state"], shown["cut_short"]) == ("off", True)
    assert "State:\tZ" not in Path(f"/proc/{guardian}/status").read_text()
    os.kill(process.pid, signal.SIGSTOP)  # it must not notice that its guardian ends
    os.kill(guardian, signal.SIGKILL)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    virtual.relay.release()
    assert intent_path(lab.state_dir, slot.id).exists()
    assert not virtual.boards["hut-01"].powered
    repaired = hut_ci(virtual, "power", "repair", "--wait", "10")
    assert (repaired.returncode, "is on again" in repaired.stderr) == (0, True), repaired
    assert virtual.boards["hut-01"].powered
    assert not intent_path(lab.state_dir, slot.id).exists()


def test_a_guardian_that_dies_alone_is_replaced_by_its_parent(stack: ExitStack, tmp_path: Path) -> None:
    virtual, lab, slot = a_lab(stack, tmp_path)
    virtual.relay.hold_at("off")
    results: list[PowerResult] = []
    worker = threading.Thread(target=lambda: results.append(cycle(lab, slot)))
    worker.start()
    virtual.relay.wait_for("held", PATIENCE)
    virtual.relay.fail("server_error_on:1")
    for file in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in file.read_text().split():
            if b"guardian" in (Path("/proc") / pid / "cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
    virtual.relay.release()
    worker.join()
    assert results[0].detail == "server_error"
    assert virtual.boards["hut-01"].powered
    assert not intent_path(lab.state_dir, slot.id).exists()


def guarded(virtual: VirtualLab, lab: Lab, slot: Slot, seconds: float = PATIENCE, timeout: float = 1.0) -> Guardian:
    switch = open_switch(a_server(lab), virtual.entity(slot.id), Token(virtual.relay.token), timeout)
    return Guardian(lab.state_dir, (slot.id,), switch, (), Deadline(seconds))


def a_server(lab: Lab) -> HomeAssistant:
    assert lab.home_assistant is not None
    return lab.home_assistant


def test_a_cycle_that_hangs_gets_its_power_back(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-9: a stopped process closes no pipe; and when it goes on, what it switches off is switched on, too."""
    virtual, lab, slot = a_lab(stack, tmp_path)
    entity = virtual.entity("hut-01")
    with guarded(virtual, lab, slot, seconds=0.1) as guardian:
        guardian.switching_off()
        virtual.relay.switch(entity, False)
        virtual.relay.wait_for("on", PATIENCE)
        assert intent_path(lab.state_dir, slot.id).exists()
        virtual.relay.switch(entity, False)
        guardian.off_answered()
    assert guardian.restored
    assert virtual.boards["hut-01"].powered
    assert not intent_path(lab.state_dir, slot.id).exists()


@pytest.mark.real
def test_an_off_that_arrives_late_is_undone(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-9: a call without an answer may act until the slot's `timeout` is over."""
    virtual, lab, slot = a_lab(stack, tmp_path)
    late: list[str] = []

    def arrive() -> None:
        first = virtual.relay.wait_for("on", PATIENCE)
        virtual.relay.wait_for("state", PATIENCE, after=first.seconds + 1.2)
        virtual.relay.switch(virtual.entity("hut-01"), False)
        late.append("arrived")

    worker = threading.Thread(target=arrive)
    with guarded(virtual, lab, slot, timeout=6.5) as guardian:  # the least time is one second
        guardian.switching_off()
        virtual.relay.switch(virtual.entity("hut-01"), False)
        worker.start()
    worker.join()
    assert late
    assert guardian.restored
    assert virtual.boards["hut-01"].powered


@pytest.mark.parametrize(("timeout", "seconds"), [(0.1, 1.0), (15.0, 15.0), (600.0, 30.0)])
def test_a_late_off_is_watched_for_as_long_as_a_call_may_take(timeout: float, seconds: float) -> None:
    assert in_flight(CommandSwitch({}, timeout)) == seconds


def test_a_late_off_that_cannot_be_read_back_is_undone_blindly(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    argv = {word: ("/bin/sh", "-c", f"echo {word} >>{calls}") for word in ("on", "off")}
    switch_back(CommandSwitch(argv), Deadline(PATIENCE), settle=0.2)
    assert calls.read_text().split() == ["on", "on"]


def test_cancelled_while_the_guardian_starts(stack: ExitStack, tmp_path: Path) -> None:
    """The cancellation comes through as it is, and nothing is left to repair: nothing was switched."""

    class Interrupted(tuple[int, ...]):
        def __iter__(self) -> Iterator[int]:
            raise KeyboardInterrupt

    virtual, lab, slot = a_lab(stack, tmp_path)
    guardian = replace(guarded(virtual, lab, slot), lock_fds=Interrupted((1,)))
    with pytest.raises(KeyboardInterrupt), guardian:
        pass
    assert not intent_path(lab.state_dir, slot.id).exists()
    assert virtual.relay.switched() == []


def test_a_run_repairs_before_it_begins(stack: ExitStack, tmp_path: Path) -> None:
    """Design decision 2: whatever slips through, the next command on that slot repairs."""
    virtual, lab, slot = a_lab(stack, tmp_path)
    virtual.relay.switch(virtual.entity("hut-01"), False)
    write_intent(lab.state_dir, slot.id, choose(lab, slot, {}))
    said: list[str] = []
    with claimed(lab, slot) as claims:
        cycle_now = cycle_for_run(lab, slot, claims[slot.id], {}, claim, said.append)
        assert virtual.boards["hut-01"].powered
        assert cycle_now is not None
        assert cycle_now(Deadline(PATIENCE)).result == "ok"
    assert len(said) == 1
    assert "cut short" in said[0]


def test_a_failing_repair_keeps_the_record(stack: ExitStack, tmp_path: Path) -> None:
    virtual, lab, slot = a_lab(stack, tmp_path, relay_faults=["unauthorized"])
    write_intent(lab.state_dir, slot.id, choose(lab, slot, {}))
    with claimed(lab, slot), pytest.raises(PowerError):
        repair(lab, slot, choose(lab, slot, {}), Deadline(PATIENCE))
    virtual.relay.heal()
    with claimed(lab, slot):
        assert repair(lab, slot, choose(lab, slot, {}), Deadline(PATIENCE))
        assert repair(lab, slot, choose(lab, slot, {}), Deadline(PATIENCE)) is None


# --- slots beside each other --------------------------------------------------------------------------------


@pytest.mark.real
def test_one_slot_is_serialised_two_slots_overlap(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-8: real processes, the relay as witness."""
    virtual, _, _ = a_lab(stack, tmp_path, slots=2, power={"timeout": 30})
    virtual.relay.hold_at("off")
    argv = [str(HUT_CI), "power", "cycle", "--lab", str(virtual.lab_yml), "--json"]
    first = stack.enter_context(subprocess.Popen([*argv, "hut-01"], stdout=subprocess.PIPE, text=True))
    virtual.relay.wait_for("held", PATIENCE)
    refused = hut_ci(virtual, "power", "cycle", "hut-01")
    assert refused.returncode == 4
    assert "power cycle" in refused.stderr
    other = hut_ci(virtual, "power", "cycle", "hut-02", "--json")
    assert json.loads(other.stdout)["result"] == "ok"
    second = stack.enter_context(subprocess.Popen([*argv, "hut-01", "--wait", "30"], stdout=subprocess.PIPE, text=True))
    virtual.relay.release()
    assert [process.wait(PATIENCE) for process in (first, second)] == [0, 0]
    assert virtual.relay.switched("switch.slot_1") == ["off", "on", "off", "on"]


@pytest.mark.real
def test_a_power_group_is_claimed_whole(stack: ExitStack, tmp_path: Path) -> None:
    """Design decision 2, WS9-12: one plug, two slots."""
    shared = {"power": {"entity": "switch.slot_1", "group": "shelf", "off": 0.2, "on": 0.1, "cooldown": 0}}
    virtual, lab, slot = a_lab(stack, tmp_path, slots=2, settings={"hut-01": shared, "hut-02": shared})
    assert group_of(lab, slot) == ("hut-01", "hut-02")
    with claimed(lab, lab.slots[1]):
        assert hut_ci(virtual, "power", "cycle", "hut-01").returncode == 4
    assert virtual.relay.switched() == []
    with claimed(lab, slot) as claims, pytest.raises(PowerError, match="hut-02"):
        cycle_slot(lab, slot, claims, choose(lab, slot, {}), Deadline(PATIENCE))
    assert hut_ci(virtual, "power", "cycle", "hut-01").returncode == 0
    assert virtual.relay.switched() == ["off", "on"]


def a_shelf(stack: ExitStack, folder: Path) -> tuple[VirtualLab, Lab]:
    """Three slots, of which the first and the last hang behind one plug that cuts the first's power."""
    shared = {"power": {"entity": "switch.slot_1", "group": "shelf", "off": 0.2, "on": 0.1, "cooldown": 0}}
    virtual, lab, _ = a_lab(stack, folder, slots=3, settings={"hut-01": shared, "hut-03": shared})
    return virtual, lab


@pytest.mark.parametrize("number", [0, 2])
def test_a_run_cycles_a_group_when_all_of_it_is_free(stack: ExitStack, tmp_path: Path, number: int) -> None:
    """WS9-8, WS9-12: the run holds its own slot; the other one is claimed for the length of the cycle."""
    virtual, lab = a_shelf(stack, tmp_path)
    mine, other = lab.slots[number], lab.slots[2 - number]
    with claimed(lab, mine) as claims:
        cycle_now = cycle_for_run(lab, mine, claims[mine.id], {}, claim, group_wait=0.2)
        assert cycle_now is not None
        with claimed(lab, other):
            busy = cycle_now(Deadline(PATIENCE))
        assert (busy.result, busy.detail) == ("timeout", "group_busy")
        assert f"{other.id} is held by" in busy.text
        assert virtual.relay.switched() == []
        assert cycle_now(Deadline(PATIENCE)).result == "ok"
        with claimed(lab, other):
            assert virtual.relay.switched() == ["off", "on"]


def test_two_runs_behind_one_plug_do_not_wait_for_each_other_for_ever(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-8: each holds what the other wants; both get their answer, and nobody's power is cut."""
    virtual, lab = a_shelf(stack, tmp_path)
    answers: list[PowerResult] = []
    ready = threading.Barrier(2)

    def run(slot: Slot) -> None:
        with claimed(lab, slot) as claims:
            cycle_now = cycle_for_run(lab, slot, claims[slot.id], {}, claim, group_wait=0.3)
            assert cycle_now is not None
            ready.wait(PATIENCE)
            answers.append(cycle_now(Deadline(PATIENCE)))
            ready.wait(PATIENCE)

    runs = [threading.Thread(target=run, args=(lab.slots[number],)) for number in (0, 2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join(PATIENCE)
    assert [answer.detail for answer in answers] == ["group_busy", "group_busy"]
    assert virtual.relay.switched() == []


# --- the command line ---------------------------------------------------------------------------------------


def test_on_off_status(stack: ExitStack, tmp_path: Path) -> None:
    virtual, _, _ = a_lab(stack, tmp_path)
    assert hut_ci(virtual, "power", "off", "hut-01").returncode == 0
    assert not virtual.boards["hut-01"].powered
    assert json.loads(hut_ci(virtual, "power", "status", "hut-01", "--json").stdout)["state"] == "off"
    assert hut_ci(virtual, "power", "on", "hut-01").returncode == 0
    assert virtual.boards["hut-01"].powered


def test_failures_exit_7_and_say_what_to_do(stack: ExitStack, tmp_path: Path) -> None:
    virtual, _, _ = a_lab(stack, tmp_path, relay_faults=["unauthorized"])
    failed = hut_ci(virtual, "power", "on", "hut-01")
    assert failed.returncode == 7
    assert "401" in failed.stderr
    assert "do:" in failed.stderr
    result = hut_ci(virtual, "power", "cycle", "hut-01", "--json")
    assert result.returncode == 7
    document = json.loads(result.stdout)
    assert document.keys() == {"slot", "result", "detail", "proven", "seconds", "text"}
    assert (document["result"], document["detail"]) == ("ha_error", "unauthorized")


@pytest.mark.real
def test_power_test_finds_the_proof_and_writes_it(stack: ExitStack, tmp_path: Path) -> None:
    virtual, _, slot = a_lab(stack, tmp_path, power={"proof": "none"})
    done = hut_ci(virtual, "power", "test", "hut-01", "--write", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["proof"] == "port"
    assert load_lab(virtual.lab_yml).slots[0].power == replace(slot.power, proof="port")


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "windows", "proof", "result"),
    [
        ({"power_wiring": "self_powered"}, replace(QUICK, back=PATIENCE), "banner", "ok"),
        ({"faults": {"hut-01": ("ignores_power",)}}, QUICK, "none", "ok"),
        ({"relay_faults": ["unauthorized"]}, QUICK, None, "ha_error"),
    ],
    ids=["banner", "none", "unauthorized"],
)
def test_find_proof(
    stack: ExitStack, tmp_path: Path, options: dict[str, Any], windows: Windows, proof: str | None, result: str
) -> None:
    _, lab, slot = a_lab(stack, tmp_path, **options)
    with claimed(lab, slot) as claims:
        found = find_proof(lab, slot, claims, choose(lab, slot, {}), on_try=lambda _: None, windows=windows)
    assert (found[0], found[1].result) == (proof, result)


def test_the_proof_of_a_board_that_is_not_there_is_not_sought(stack: ExitStack, tmp_path: Path) -> None:
    """Writing `none` for it would make every later cycle `ok`."""
    virtual, _, _ = a_lab(stack, tmp_path)
    virtual.boards["hut-01"].power(False)
    before = virtual.lab_yml.read_text()
    asked = hut_ci(virtual, "power", "test", "hut-01", "--write", "--json")
    document = json.loads(asked.stdout)
    assert (asked.returncode, document["proof"], document["detail"]) == (7, None, "no_witness")
    assert virtual.relay.switched() == []
    assert virtual.lab_yml.read_text() == before


# --- other back ends ----------------------------------------------------------------------------------------


def test_command_back_end(tmp_path: Path) -> None:
    """Security 14: argv lists, a clean environment, no shell."""
    state = tmp_path / "state"
    script = tmp_path / "plug"
    script.write_text(f'#!/bin/sh\n[ "$1" = read ] && exec cat {state}\necho "$1" >{state}\nenv >{tmp_path}/env\n')
    script.chmod(0o755)
    argv = {name: (str(script), word) for name, word in (("on", "on"), ("off", "off"), ("state", "read"))}
    switch = CommandSwitch(argv)
    deadline = Deadline(PATIENCE)
    switch.off(deadline)
    assert switch.is_on(deadline) is False
    switch.on(deadline)
    assert switch.is_on(deadline) is True
    assert "HUT_CI_LAB" not in (tmp_path / "env").read_text()
    assert CommandSwitch({"on": argv["on"], "off": argv["off"]}).is_on(deadline) is None


@pytest.mark.parametrize(
    ("argv", "timeout", "detail"),
    [
        ({"on": ("/bin/true",)}, PATIENCE, "no_command"),
        ({"on": ("/bin/true",), "off": ("/bin/false",)}, PATIENCE, "command_failed"),
        ({"on": ("/bin/true",), "off": ("/nonexistent",)}, PATIENCE, "command_failed"),
        ({"on": ("/bin/true",), "off": ("/bin/sleep", "300")}, 0.3, "slow"),
    ],
)
def test_command_failures(argv: dict[str, tuple[str, ...]], timeout: float, detail: str) -> None:
    switch = CommandSwitch(argv, timeout=timeout)

    def use() -> None:
        switch.exists(Deadline(PATIENCE))
        switch.off(Deadline(PATIENCE))

    with pytest.raises(PowerError) as failed:
        use()
    assert failed.value.fields["detail"] == detail


def lagging_plug(tmp_path: Path, reads_until_right: int, timeout: float) -> CommandSwitch:
    """A program whose `state` tells the truth only at the given read after each switching."""
    script = tmp_path / "plug"
    script.write_text(
        f"""#!/bin/sh
        cd {tmp_path}
        [ "$1" = read ] || {{ mv now before 2>/dev/null || echo on >before; echo $1 >now; rm -f reads; exit; }}
        echo x >>reads
        if [ $(wc -l <reads) -ge {reads_until_right} ]; then cat now; else cat before; fi
        """
    )
    script.chmod(0o755)
    return CommandSwitch({n: (str(script), w) for n, w in (("on", "on"), ("off", "off"), ("state", "read"))}, timeout)


def test_a_command_whose_state_lags_is_waited_for(tmp_path: Path) -> None:
    switch = lagging_plug(tmp_path, 3, PATIENCE)
    for switched, reads in ((switch.off, False), (switch.on, True)):
        switched(Deadline(PATIENCE))
        assert switch.is_on(Deadline(PATIENCE)) is reads


def test_a_command_that_changes_nothing_is_stuck(tmp_path: Path) -> None:
    """Exit code 0 is not power."""
    with pytest.raises(PowerError) as failed:
        lagging_plug(tmp_path, 1000, 3.0).off(Deadline(PATIENCE))
    assert failed.value.fields["detail"] == "stuck"


def test_a_slot_without_a_switch_says_so(stack: ExitStack, tmp_path: Path) -> None:
    _, lab, slot = a_lab(stack, tmp_path, settings={"hut-01": {"power": "none"}})
    result = cycle(lab, slot)
    assert (result.result, result.detail) == ("ha_error", "no_switch")
    with claimed(lab, slot) as claims:
        assert cycle_for_run(lab, slot, claims[slot.id], {}, claim) is None


# --- repair, for a timer ------------------------------------------------------------------------------------


def test_repair_goes_on_past_slots_that_it_cannot_repair(stack: ExitStack, tmp_path: Path) -> None:
    """WS9-9: one slot in use and one without a switch do not keep a third one dark."""
    virtual, lab, _ = a_lab(stack, tmp_path, slots=3, settings={"hut-02": {"power": "none"}})
    for slot in lab.slots:
        write_intent(lab.state_dir, slot.id, choose(lab, slot, {}))
    virtual.relay.switch(virtual.entity("hut-03"), False)
    with claimed(lab, lab.slots[0]):
        done = hut_ci(virtual, "power", "repair", "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout) == {"repaired": ["hut-03"], "busy": ["hut-01"], "failed": ["hut-02"]}
    assert virtual.boards["hut-03"].powered


@pytest.mark.real
def test_off_on_purpose_stays_off(stack: ExitStack, tmp_path: Path) -> None:
    """Whatever accident came before, to whichever slot behind the plug: nothing switches on, not even in passing."""
    virtual, lab = a_shelf(stack, tmp_path)
    for member in (lab.slots[0], lab.slots[2]):
        write_intent(lab.state_dir, member.id, choose(lab, member, {}))
    assert hut_ci(virtual, "power", "off", "hut-01").returncode == 0
    assert hut_ci(virtual, "power", "repair").returncode == 0
    assert virtual.relay.switched() == ["off"]


def test_one_repair_serves_all_slots_behind_the_plug(stack: ExitStack, tmp_path: Path) -> None:
    virtual, lab = a_shelf(stack, tmp_path)
    for member in (lab.slots[0], lab.slots[2]):
        write_intent(lab.state_dir, member.id, choose(lab, member, {}))
    virtual.relay.switch(virtual.entity("hut-01"), False)
    assert hut_ci(virtual, "power", "repair", "hut-03").returncode == 0
    assert not [member.id for member in lab.slots if intent_path(lab.state_dir, member.id).exists()]


@pytest.mark.real
def test_an_accident_at_a_relay_that_lab_yml_no_longer_names(stack: ExitStack, tmp_path: Path) -> None:
    """The new relay is not switched for it, the record stays, and the message says how to go on."""
    virtual, lab, slot = a_lab(stack, tmp_path)
    former = open_switch(a_server(lab), "switch.former", Token("t"), 1.0)
    record = write_intent(lab.state_dir, slot.id, former)
    done = hut_ci(virtual, "power", "repair", "hut-01")
    assert done.returncode == 7
    assert "switch.former" in done.stderr
    assert str(record) in done.stderr
    assert hut_ci(virtual, "power", "off", "hut-01").returncode == 0
    assert virtual.relay.switched() == ["off"]
    assert record.exists()


def test_status_answers_a_program_also_when_it_fails(stack: ExitStack, tmp_path: Path) -> None:
    virtual, _, _ = a_lab(stack, tmp_path, relay_faults=["unauthorized"])
    asked = hut_ci(virtual, "power", "status", "hut-01", "--json")
    document = json.loads(asked.stdout)
    assert (asked.returncode, document["state"], document["detail"]) == (7, "unknown", "unauthorized")
