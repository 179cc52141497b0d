"""Where lab.yml is read from, what the files turn into, and what an empty suite is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hut_ci.config import default_state_dir, find_lab, lab_to_write, load_lab, load_project, user_lab
from hut_ci.config.project_file import built_in_rules
from hut_ci.errors import ConfigError
from hut_ci.model import Expect, Forbid, Project

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path / "home")}


def test_order_of_places(tmp_path: Path, home: dict[str, str]) -> None:
    """Security 25: --lab, $HUT_CI_LAB, /etc, then the user's own."""
    system, own = tmp_path / "etc/lab.yml", Path(home["HOME"]) / ".config/hut-ci/lab.yml"
    for path in (system, own):
        path.parent.mkdir(parents=True)
        path.touch()
    named = home | {"HUT_CI_LAB": "/named.yml"}
    assert find_lab(Path("here.yml"), named, system) == Path("here.yml")
    assert find_lab(None, named, system) == Path("/named.yml")
    assert find_lab(None, home, system) == system
    system.unlink()
    assert find_lab(None, home, system) == own
    assert lab_to_write(None, home, system) == own
    own.unlink()
    with pytest.raises(ConfigError, match=r"no lab\.yml") as refused:
        find_lab(None, home, system)
    assert "slots add" in refused.value.todo


def test_a_home_folder_of_nobody(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yml"
    lab.write_text(
        "home_assistant: {url: 'http://127.0.0.1:8123', token_file: ~no-such-user/token}\n"
        "slots: {hut-01: {serial: /dev/serial/by-id/a}}\n"
    )
    with pytest.raises(ConfigError, match="home folder of nobody"):
        load_lab(lab)


def test_never_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Security 25: a lab.yml in the working directory is not looked at, however the environment points there."""
    (tmp_path / "lab.yml").write_text("slots: {}")
    (tmp_path / ".config/hut-ci").mkdir(parents=True)
    (tmp_path / ".config/hut-ci/lab.yml").write_text("slots: {}")
    monkeypatch.chdir(tmp_path)
    nowhere = tmp_path / "absent.yml"
    for environ in ({}, {"HOME": "."}, {"HOME": ""}, {"XDG_CONFIG_HOME": ".config"}, {"HUT_CI_LAB": "lab.yml"}):
        with pytest.raises(ConfigError):
            find_lab(None, environ, nowhere)


def test_user_folders_follow_xdg() -> None:
    assert user_lab({"HOME": "/home/me", "XDG_CONFIG_HOME": "/cfg"}) == Path("/cfg/hut-ci/lab.yml")
    assert user_lab({}) is None


def test_state_folder_of_a_lab_is_kept_and_made_absolute() -> None:
    lab = load_lab(EXAMPLES / "lab/valid/virtual.yml")
    assert lab.state_dir == EXAMPLES / "lab/valid/state"
    assert lab.lock_dir == EXAMPLES / "lab/valid/locks"
    assert load_lab(EXAMPLES / "lab.yml").lock_dir == Path("/var/lock")


def test_default_state_folder(tmp_path: Path) -> None:
    """The system's where it can be written, so that cooldowns are shared between users (WS9-4)."""
    assert default_state_dir({}, tmp_path) == tmp_path


def test_lab_that_everybody_may_write(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("slots: {}")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="everybody may write") as refused:
        load_lab(path)
    assert refused.value.todo == f"chmod o-w {path}"


def test_defaults_make_a_slot_short() -> None:
    (slot,) = load_lab(EXAMPLES / "lab/valid/smallest.yml").slots
    assert (slot.label, slot.baud, slot.power.backend, slot.facts.chip) == ("esp32-hut-01", 921600, "none", "esp32")


def test_words_that_yaml_would_turn() -> None:
    lab = load_lab(EXAMPLES / "lab/valid/names-and-words.yml")
    first, second = lab.slots
    assert second.id == "off"
    assert first.facts.mac == "24:60:28:10:11:12"
    assert first.facts.revision == (3, 10)
    assert first.facts.psram == 0
    assert (first.power.off_seconds, first.power.on_seconds) == (0.5, 0)


def test_command_relay() -> None:
    (slot,) = load_lab(EXAMPLES / "lab/valid/command-relay.yml").slots
    assert slot.power.backend == "command"
    assert slot.power.command["on"] == ("/usr/local/bin/relay", "1", "on")


def test_two_links_to_one_device_are_one_device(tmp_path: Path) -> None:
    """A by-id and a by-path link of two slots that lead to one tty (WS8-5)."""
    (tmp_path / "tty0").touch()
    for name in ("by-id", "by-path"):
        (tmp_path / name).symlink_to("tty0")
    path = tmp_path / "lab.yml"
    path.write_text(f"slots:\n  a: {{serial: {tmp_path}/by-id}}\n  b: {{serial: {tmp_path}/by-path}}\n")
    with pytest.raises(ConfigError, match=r"lab\.yml:3: slots\.b\.serial: is the device of a"):
        load_lab(path)


def test_one_slot_may_have_both_links_of_its_device(tmp_path: Path) -> None:
    (tmp_path / "tty0").touch()
    for name in ("by-id", "by-path"):
        (tmp_path / name).symlink_to("tty0")
    path = tmp_path / "lab.yml"
    path.write_text(f"slots:\n  a: {{serial: [{tmp_path}/by-id, {tmp_path}/by-path]}}\n")
    assert len(load_lab(path).slots[0].serial) == 2


def test_every_problem_is_named_first_line_first(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("slots:\n  a: {serial: x}\n  b: {sreial: /dev/serial/by-id/b}\n  c: {}\n")
    with pytest.raises(ConfigError) as refused:
        load_lab(path)
    assert refused.value.what.startswith("lab.yml:2: slots.a.serial")
    for line in ("lab.yml:3: slots.b.sreial", "lab.yml:3: slots.b.serial: missing", "lab.yml:4: slots.c.serial"):
        assert line in refused.value.why


def test_http_only_where_the_token_stays_in_the_house(tmp_path: Path) -> None:
    """Security 16: loopback, private addresses and local names."""
    path = tmp_path / "lab.yml"
    for host, fine in {
        "127.0.0.1": True,
        "[::1]": True,
        "192.168.1.5": True,
        "homeassistant": True,
        "ha.local": True,
        "8.8.8.8": False,
        "ha.example.com": False,
        "local.example.com": False,
    }.items():
        path.write_text(f'home_assistant: {{url: "http://{host}:8123"}}\nslots: {{}}\n')
        if fine:
            load_lab(path)
        else:
            with pytest.raises(ConfigError, match="not in this network"):
                load_lab(path)


def test_no_project_file_is_the_defaults() -> None:
    assert load_project(None) == Project()


def test_project_steps_and_rules() -> None:
    suite = load_project(EXAMPLES / "hut/valid/everything.yml").suite
    assert suite.expect[0] == Expect("Starting app_main", name="Starting app_main")
    assert suite.expect[2] == Expect(None, send="restart\n", name="send")
    assert suite.forbid == (Forbid("forbid-1", "assert failed"), Forbid("heap", "heap corrupt"))


@pytest.mark.parametrize("extra", ["", ", expect: []", ", settle: 3", ", forbid: []"])
def test_a_suite_that_checks_nothing(tmp_path: Path, extra: str) -> None:
    """Design decision 18: every built-in rule off and nothing else asked for is no suite."""
    path = tmp_path / "hut.yml"
    rules = ", ".join(sorted(built_in_rules()))
    path.write_text(f"suite: {{off: [{rules}]{extra}}}\n")
    with pytest.raises(ConfigError, match="checks nothing") as refused:
        load_project(path)
    assert refused.value.evidence == "empty_suite"
    path.write_text(f"suite: {{off: [{rules}], expect: [booted]}}\n")
    assert load_project(path).suite.off == built_in_rules()


@pytest.mark.parametrize("text", ["suite: {}", "suite:", "suite: ~"])
def test_an_explicitly_empty_suite(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hut.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_project(path)
    assert refused.value.evidence == "empty_suite"


@pytest.mark.parametrize("key", ["expect", "forbid"])
@pytest.mark.parametrize(
    ("written", "advised"),
    [
        ("network: got", '"network: got"'),
        ("network:", '"network:"'),
        (r"heap: \d+ left", r"'heap: \d+ left'"),
        ('it: isn\'t "up"', "'it: isn''t \"up\"'"),
    ],
)
def test_a_pattern_with_a_colon_needs_quotes(key: str, written: str, advised: str, tmp_path: Path) -> None:
    """The advice is all that is said, and following it gives the pattern that was meant."""
    path = tmp_path / "hut.yml"
    path.write_text(f"suite:\n  {key}:\n    - {written}\n")
    with pytest.raises(ConfigError) as refused:
        load_project(path)
    assert refused.value.what == f"hut.yml:3: suite.{key}[0]: a mapping where a pattern should be"
    assert "also" not in refused.value.why
    assert refused.value.todo == f"quote the pattern: {advised}"
    path.write_text(f"suite:\n  {key}:\n    - {advised}\n")
    (entry,) = getattr(load_project(path).suite, key)
    assert entry.line == written


@pytest.mark.parametrize("step", ["lime: got", "network: 5", "network: {got: a}", "{app: started, within: 3}"])
def test_a_key_that_is_not_known_is_said_once(step: str, tmp_path: Path) -> None:
    path = tmp_path / "hut.yml"
    path.write_text(f"suite:\n  expect:\n    - {step}\n")
    with pytest.raises(ConfigError, match="unknown key") as refused:
        load_project(path)
    assert "a mapping is not a mapping" not in refused.value.why


def test_project_file_is_never_a_link(tmp_path: Path) -> None:
    """A workspace may not make the host read one of its own files."""
    (tmp_path / "hut.yml").symlink_to(EXAMPLES / "hut.yml")
    with pytest.raises(ConfigError, match="symbolic link"):
        load_project(tmp_path / "hut.yml")


def test_the_digest_follows_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "hut.yml"
    path.write_text("suite: {expect: [a]}\n")
    before = load_project(path).digest
    path.write_text("suite: {expect: [a]} \n")
    assert before != load_project(path).digest
