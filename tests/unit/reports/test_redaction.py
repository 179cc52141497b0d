"""Security 15 and 20: what must not leave the lab host is gone from texts, documents, serial bytes and files."""

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import document, samples

from hut_ci.errors import ConfigError
from hut_ci.reports import redaction
from hut_ci.reports.json_document import CONTRACT_KEYS, problems
from hut_ci.reports.redaction import CHUNK, Redactor

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("IP=192.168.1.57, gw 10.0.0.1", "IP=[redacted], gw [redacted]"),
        ("172.16.0.1 172.31.255.254 169.254.1.1", "[redacted] [redacted] [redacted]"),
        ("IDF v10.0.0.1x 172.32.0.1 8.8.8.8", "IDF v10.0.0.1x 172.32.0.1 8.8.8.8"),
        ("fe80::260a:c4ff:fe00:10 on st1", "[redacted] on st1"),
        ("SSID a.person@example.org joined", "SSID [redacted] joined"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer [redacted]"),
        ("ghp_" + "a1B2" * 9 + " glpat-" + "x" * 20, "[redacted] [redacted]"),
        ("24:0a:c4:00:00:10 is wanted", "24:0a:c4:00:00:10 is wanted"),
        ("commit 0123456789abcdef0123456789abcdef01234567", "commit 0123456789abcdef0123456789abcdef01234567"),
    ],
)
def test_built_in(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


@pytest.mark.parametrize(
    ("patterns", "text", "shown"),
    [
        (["hunter2"], "psk=hunter2!", "psk=[redacted]!"),
        (["a.b"], "a.b axb", "[redacted] axb"),
        (["re:psk=\\S+"], "psk=x1 y", "[redacted] y"),
        (["re:(?i)myssid"], "MySSID", "[redacted]"),
        (["abc", "abcdef"], "abcdefg", "[redacted]g"),
        (["re:x*"], "axxb", "a[redacted]b"),
        (["", "re:"], "untouched", "untouched"),
        (["Grüße"], "Grüße an alle", "[redacted] an alle"),
        (["24:0a:c4:00:00:10"], "mac 24:0a:c4:00:00:10", "mac [redacted]"),
    ],
)
def test_of_the_operator(patterns: list[str], text: str, shown: str) -> None:
    assert Redactor(patterns).text(text) == shown


def test_secrets_are_literal_and_found_url_quoted() -> None:
    redactor = Redactor(secrets=["re:p&ss/wörd", ""])
    assert redactor.text("re:p&ss/wörd re%3Ap%26ss%2Fw%C3%B6rd") == "[redacted] [redacted]"


def test_repr_hides_everything() -> None:
    assert repr(Redactor(["hunter2"], ["swordfish"])) == "Redactor(2 entries)"


@pytest.mark.parametrize("pattern", ["re:(unclosed", "re:(?=ahead)", "re:\\1"])
def test_bad_pattern(pattern: str) -> None:
    """Security 25: RE2 only; what it cannot run in linear time is refused with advice."""
    with pytest.raises(ConfigError) as caught:
        Redactor([pattern])
    assert pattern.removeprefix("re:") in caught.value.what
    assert caught.value.why
    assert caught.value.todo


def test_raw_bytes_that_are_no_utf8() -> None:
    raw = b"\xff\xfe psk=\xc0\x80secret\n ok \x00"
    assert Redactor(["re:psk=.*"]).raw(raw) == b"\xff\xfe [redacted]\n ok \x00"


@given(st.text(st.characters(), max_size=80))
def test_other_text_is_unchanged(text: str) -> None:
    assert Redactor(["\U0001f9ea canary"], built_in=()).text(text) == text


def test_document_deep() -> None:
    made = Redactor(["canary"]).document(
        {"a": ["canary", {"b": "x canary"}], "n": 1, "none": None, "id": "canary"}, {"id"}
    )
    assert made == {"a": ["[redacted]", {"b": "x [redacted]"}], "n": 1, "none": None, "id": "canary"}


@pytest.mark.parametrize("name", sorted(samples()))
def test_the_greediest_pattern_leaves_a_valid_report(name: str) -> None:
    """Redaction cannot break the contract: bound words, instants and the commit stay."""
    redacted = Redactor(["re:(?s).+"]).document(document(samples()[name]), CONTRACT_KEYS)
    assert problems(redacted) == []
    assert redacted["human_summary"] == "[redacted]"


@pytest.mark.parametrize("shift", [-20, -9, -8, -7, -4, -1, 0, 1, 8])
@pytest.mark.parametrize("filler", [b"x", b"0123456789abcde\n"])
def test_file_with_a_secret_at_a_chunk_border(tmp_path, shift: int, filler: bytes) -> None:
    """A secret that lies across two reads, and across the end of what is held back."""
    path = tmp_path / "serial.log"
    content = bytearray(filler * (3 * CHUNK // len(filler)))
    places = [CHUNK + shift, CHUNK - redaction.LONGEST_MATCH + shift, 2 * CHUNK + shift]
    for place in places:
        content[place : place + 8] = b"canary42"
    path.write_bytes(content)
    Redactor(["canary42"]).redact_file(path)
    after = path.read_bytes()
    assert b"canary" not in after
    assert after == bytes(content).replace(b"canary42", b"[redacted]")


def test_file_equals_memory_for_random_reads() -> None:
    """Whatever sizes the reads have, the result is that of the whole."""
    chance = random.Random(2)
    words = [b"canary", b"10.1.2.3", b"x" * 50, b"\n", b" ", b"\xff\x00", b"ab", b"can"]
    data = b"".join(chance.choice(words) for _ in range(40_000))
    redactor = Redactor(["canary", "re:ab+"])
    position, chunks = 0, []
    while position < len(data):
        size = chance.choice([1, 100, 70_000, 200_000])
        chunks.append(data[position : position + size])
        position += size
    assert b"".join(redactor._stream(iter(chunks))) == redactor.raw(data)


def test_file_mode_and_no_leftovers(tmp_path) -> None:
    path = tmp_path / "serial.log"
    path.write_bytes(b"canary")
    path.chmod(0o600)
    Redactor(["canary"]).redact_file(path)
    assert path.read_bytes() == b"[redacted]"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_not_followed(tmp_path) -> None:
    (tmp_path / "secret").write_bytes(b"shadow")
    (tmp_path / "serial.log").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        Redactor().redact_file(tmp_path / "serial.log")


def test_memory_stays_bounded(tmp_path) -> None:
    """24 MB without a line's end, and a pattern that would match all of it, in a child that may not hold them."""
    path = tmp_path / "serial.log"
    with path.open("wb") as file:
        for _ in range(24):
            file.write(b"y" * CHUNK)
    code = (
        "import sys; from pathlib import Path; from hut_ci.reports.redaction import Redactor\n"
        "Redactor(['re:y+z', 're:(?s)y.*']).redact_file(Path(sys.argv[1]))\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    child = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(child.stdout) < 36 << 10  # KiB, for all of the process
    assert set(path.read_bytes().split(b"[redacted]")) == {b""}
    assert path.stat().st_size < 1000
