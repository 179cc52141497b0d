"""Files of the power room: the token, the state files, the cooldown, and the proof in lab.yml."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hut_ci.config import load_lab
from hut_ci.credentials import Token
from hut_ci.errors import ConfigError, PowerError
from hut_ci.model import HomeAssistant
from hut_ci.power.command import CommandSwitch
from hut_ci.power.cooldown import SlotCooldown
from hut_ci.power.lab_proof import with_proof, write_proof
from hut_ci.power.state_file import read_trusted, state_path, write_durably
from hut_ci.power.token import read_token

CANARY = "canary-5f1d0c9a"


def token_file(folder: Path, text: str = CANARY, *, mode: int = 0o600, folder_mode: int = 0o700) -> Path:
    secret = folder / "secrets"
    secret.mkdir()
    file = secret / "token"
    file.write_text(text)
    file.chmod(mode)
    secret.chmod(folder_mode)
    return file


def read(file: Path | None, **environ: str) -> str:
    return read_token(HomeAssistant("http://127.0.0.1:1", file), environ).reveal()


def test_token_from_a_private_file(tmp_path: Path) -> None:
    assert read(token_file(tmp_path, f"{CANARY}\n")) == CANARY


def test_token_from_the_environment_only_without_a_file(tmp_path: Path) -> None:
    """Security 17: a file that lab.yml names is not overruled by a variable."""
    assert read(None, HASS_TOKEN=CANARY) == CANARY
    assert read(token_file(tmp_path, "from-file"), HASS_TOKEN=CANARY) == "from-file"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": 0o640}, "others may read"),
        ({"mode": 0o604}, "others may read"),
        ({"folder_mode": 0o755}, "others may enter"),
        ({"text": ""}, "holds no Home Assistant token"),
        ({"text": " \n"}, "holds no Home Assistant token"),
        ({"text": f"{CANARY}\nX-Evil: 1"}, "usable"),
        ({"text": f"Bearer {CANARY}"}, "usable"),
    ],
)
def test_token_files_that_are_refused(tmp_path: Path, options: dict[str, object], says: str) -> None:
    """Security 18; and 15: the refusal does not show what it refuses."""
    file = token_file(tmp_path, **options)  # type: ignore[arg-type]
    with pytest.raises(PowerError, match=says) as refused:
        read(file)
    assert refused.value.fields["detail"] == "no_token"
    assert refused.value.todo
    shown = [*traceback.format_exception(refused.value), refused.value.why, refused.value.todo, *refused.value.args]
    assert CANARY not in "".join(shown)


def test_token_file_must_be_a_plain_file(tmp_path: Path) -> None:
    """Security 19: no links, no pipes (which would hang)."""
    real = token_file(tmp_path)
    link = real.with_name("link")
    link.symlink_to(real)
    pipe = real.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    for path in (link, pipe, real.with_name("missing"), real.parent):
        with pytest.raises(PowerError):
            read(path)


def test_empty_variable_counts_as_missing() -> None:
    with pytest.raises(PowerError, match="HASS_TOKEN"):
        read(None, HASS_TOKEN="")


def test_token_hides_itself() -> None:
    """Security 15."""
    token = Token(CANARY)
    assert CANARY not in f"{token} {token!r} {[token]}"


# --- state files --------------------------------------------------------------------------------------------


def test_state_file_round_trip(tmp_path: Path) -> None:
    path = state_path(tmp_path / "state", "power", "hut-01")
    assert read_trusted(path) is None
    write_durably(path, "one")
    write_durably(path, "two")
    assert read_trusted(path) == "two"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("slot_id", ["", "../x", "a/b", ".hidden", "x\n", "a" * 64, "-x"])
def test_ids_that_must_not_become_paths(tmp_path: Path, slot_id: str) -> None:
    """Security 19."""
    with pytest.raises(ValueError, match="slot id"):
        state_path(tmp_path, "power", slot_id)


def _as_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _as_hard_link(path: Path) -> None:
    os.link(path, path.with_suffix(".second"))


def _as_public(path: Path) -> None:
    path.chmod(0o666)


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("spoil", [_as_link, _as_hard_link, _as_public, _as_pipe])
def test_state_files_that_are_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Security 19."""
    path = state_path(tmp_path, "power", "hut-01")
    write_durably(path, "{}")
    spoil(path)
    with pytest.raises(PowerError) as refused:
        read_trusted(path)
    assert refused.value.fields["detail"] == "state_file"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_strangers_state_file_is_refused_and_an_unwritable_folder_reported(tmp_path: Path) -> None:
    """Security 19, as a user who is not root: root sees none of this."""
    program = """
import os, sys
from pathlib import Path
from hut_ci.errors import PowerError
from hut_ci.power.state_file import read_trusted, write_durably
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for call in (lambda: read_trusted(Path(sys.argv[1])), lambda: write_durably(Path(sys.argv[1]), "x")):
    try:
        print("accepted", call())
    except PowerError as error:
        print("refused", error.fields["detail"])
"""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder lets nobody else in
        Path(name).chmod(0o755)
        path = Path(name) / "power-hut-01.json"
        path.write_text("{}")
        os.chown(path, 12345, 12345)
        run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["refused state_file", "refused state_file"]


# --- cooldown -----------------------------------------------------------------------------------------------


def test_cooldown_outlives_the_process(tmp_path: Path) -> None:
    """WS9-4: a second process with its own clock sees it."""
    now = 1000.0
    first = SlotCooldown(tmp_path, "hut-01", 30.0, lambda: now)
    assert first.remaining() == 0.0
    first.stamp()
    program = (
        "import sys; from pathlib import Path; from hut_ci.power.cooldown import SlotCooldown;"
        "print(SlotCooldown(Path(sys.argv[1]), 'hut-01', 30.0, lambda: 1010.0).remaining())"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(run.stdout) == 20.0
    assert SlotCooldown(tmp_path, "hut-02", 30.0, lambda: now).remaining() == 0.0


@pytest.mark.parametrize(("now", "left"), [(1029.0, 1.0), (1030.0, 0.0), (5000.0, 0.0), (10.0, 30.0)])
def test_cooldown_survives_a_jumping_clock(tmp_path: Path, now: float, left: float) -> None:
    SlotCooldown(tmp_path, "hut-01", 30.0, lambda: 1000.0).stamp()
    assert SlotCooldown(tmp_path, "hut-01", 30.0, lambda: now).remaining() == left


@pytest.mark.parametrize("text", ["", "{", "[]", '{"last": null}', '{"last": "x"}', '{"last": NaN}'])
def test_an_unreadable_cooldown_waits_the_whole_time(tmp_path: Path, text: str) -> None:
    write_durably(state_path(tmp_path, "cooldown", "hut-01"), text)
    assert SlotCooldown(tmp_path, "hut-01", 30.0).remaining() == 30.0


# --- the proof in lab.yml -----------------------------------------------------------------------------------

FORMS = {
    "short": "    power: switch.a  # the plug on the left\n",
    "flow": "    power: {entity: switch.a, off: 3}  # the plug\n",
    "flow with proof": "    power: {entity: switch.a, proof: none, off: 3}\n",
    "block": "    power:\n      # slow relay\n      entity: switch.a\n      off: 3\n",
    "block with proof": "    power:\n      entity: switch.a\n      proof: banner  # seen\n",
}
HEAD = (
    "# my lab\nlock_dir: locks\nstate_dir: state\nhome_assistant: {url: 'http://127.0.0.1:8123'}\nslots:\n"
    "  hut-02: {serial: /dev/serial/by-id/b, power: switch.b}\n  hut-01:\n    serial: /dev/serial/by-id/a\n"
)


@pytest.mark.parametrize("form", FORMS)
def test_proof_is_written_and_nothing_else_changes(tmp_path: Path, form: str) -> None:
    path = tmp_path / "lab.yml"
    path.write_text(HEAD + FORMS[form] + "    baud: 460800  # long cable\n")
    path.chmod(0o640)
    before = load_lab(path)
    write_proof(before, "hut-01", "port")
    after = load_lab(path)
    changed, other = after.slot("hut-01"), after.slot("hut-02")
    assert changed is not None
    assert (changed.power.proof, changed.power.entity, changed.baud) == ("port", "switch.a", 460800)
    assert other == before.slot("hut-02")
    text = path.read_text()
    assert [line for line in text.splitlines() if "#" in line] != []
    assert all(comment in text for comment in ("# my lab", "# long cable"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_proof_shared_by_an_anchor_is_left_to_its_owner(tmp_path: Path) -> None:
    text = (
        "home_assistant: {url: 'http://127.0.0.1:8123'}\nslots:\n"
        "  hut-01: {serial: /dev/serial/by-id/a, power: &p {entity: switch.a, group: g}}\n"
        "  hut-02: {serial: /dev/serial/by-id/b, power: *p}\n"
    )
    path = tmp_path / "lab.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        write_proof(load_lab(path), "hut-02", "port")
    assert "by hand" in refused.value.todo
    assert path.read_text() == text


def test_no_power_no_proof() -> None:
    with pytest.raises(ConfigError):
        with_proof("slots: {hut-01: {serial: /dev/x}}", "hut-01", "port")


def test_intent_is_json_for_other_tools(tmp_path: Path) -> None:
    """It names the relay that was cut, and shows nothing that a command's arguments may hide."""
    from hut_ci.power.intent import write_intent

    switch = CommandSwitch({"on": ("/usr/bin/plug", CANARY), "off": ("/usr/bin/plug", "off")})
    text = write_intent(tmp_path, "hut-01", switch).read_text()
    record = json.loads(text)
    assert record["relay"].startswith("/usr/bin/plug (")
    assert CANARY not in text
    assert record["slot"] == "hut-01"
    assert record["pid"] == os.getpid()
    assert record["since_utc"].endswith("Z")


# --- the users of docs/runner-host.md ------------------------------------------------------------------------

AS = """
import os, sys
from pathlib import Path
from hut_ci.config import load_lab
from hut_ci.errors import HutCiError
from hut_ci.power.lab_proof import refuse_unwritable
from hut_ci.power.token import read_token
lab = load_lab(Path(sys.argv[1]))  # before: nobody else may read this installation
os.setgroups([])
os.setresuid(*[int(sys.argv[2])] * 3)
for ask in (lambda: refuse_unwritable(lab, "hut-01"), lambda: read_token(lab.home_assistant, {})):
    try:
        ask()
        print("allowed")
    except HutCiError as error:
        print(error, error.todo)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_do_both_is_sent_to_who_may() -> None:
    """lab.yml is root's and the token the runner's: neither can do `power test --write`, and neither is sent round."""
    runner, person = 65534, 65533
    with tempfile.TemporaryDirectory() as name:
        etc = Path(name)
        etc.chmod(0o755)
        secrets = etc / "secrets"
        secrets.mkdir(0o700)
        (secrets / "hass-token").write_text("canary")
        (secrets / "hass-token").chmod(0o600)
        for path in (secrets, secrets / "hass-token"):
            os.chown(path, runner, -1)
        lab_yml = etc / "lab.yml"
        lab_yml.write_text(
            f'home_assistant: {{url: "http://127.0.0.1:1", token_file: {secrets}/hass-token}}\n'
            "slots: {hut-01: {serial: /dev/serial/by-id/x, power: switch.bench_1}}\n"
        )

        def said(uid: int) -> list[str]:
            argv = [sys.executable, "-c", AS, str(lab_yml), str(uid)]
            return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

        as_runner, as_root, as_person = said(runner), said(0), said(person)
        owner = secrets.owner()
    for writing in (as_runner[0], as_person[0]):
        assert f"`sudoedit {lab_yml}`" in writing
        assert "use sudo" not in writing
        assert "without --write" in writing
    assert (as_runner[1], as_root[0]) == ("allowed", "allowed")
    for reading in (as_root[1], as_person[1]):
        assert f"`sudo -u {owner} hut-ci" in reading
