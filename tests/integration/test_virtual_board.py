"""The virtual board against the unmodified esptool and pyserial."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial
from slowness import slowness

from hut_ci.board.remote_port import RemotePort
from hut_ci.virtual.app_script import Echo, Log, Panic, Reply, Script
from hut_ci.virtual.board import VirtualBoard
from hut_ci.virtual.images import Needs, build_folder, code_like_bytes

PATIENCE = 60.0
SAMPLES = Path(__file__).parents[2].parent / "shared" / "samples" / "squeezelite-4.3-i2s-16" / "build"

# pyserial renegotiates with the server at every change of a timeout, which is local business; esptool changes it twice
# for each command.
QUICK_TIMEOUTS = """\
import serial.rfc2217
serial.rfc2217.Serial.timeout = property(lambda s: s._timeout, lambda s, v: setattr(s, "_timeout", v))
"""

# pyserial 3.5 starts its RFC 2217 reader with methods that Python deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning", "ignore:setName:DeprecationWarning")

Esptool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def esptool(tmp_path: Path) -> Esptool:
    quick = tmp_path / "quick"
    quick.mkdir()
    (quick / "sitecustomize.py").write_text(QUICK_TIMEOUTS)

    def run(board: VirtualBoard, *words: object, ok: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "esptool", "--port", board.serial, *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(quick)}
        done = subprocess.run(
            argv, env=environment, cwd=quick, capture_output=True, text=True, timeout=280, check=False
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(autouse=True)
def no_thread_outlives_its_board() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + PATIENCE
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < end, left
        time.sleep(0.01)


@pytest.fixture
def pty_board(tmp_path: Path) -> Iterator[VirtualBoard]:
    with VirtualBoard(transport="pty", link=tmp_path / "port") as board:
        yield board


def plan(folder: Path, arguments: str = "flash_args") -> list[str]:
    """Offset and path, alternating, as write-flash wants them."""
    words: list[str] = []
    for row in (folder / arguments).read_text().splitlines()[1:]:
        offset, name = row.split()
        words += [offset, str(folder / name)]
    return words


@contextlib.contextmanager
def opened(board: VirtualBoard, baud: int = 115200) -> Iterator[serial.Serial]:
    """The port with both lines released, before it is opened.

    Over the network by a port of ours, which can be opened while a board talks faster than a busy machine reads.
    """
    is_remote = "://" in board.serial
    port = (RemotePort if is_remote else serial.Serial)(baudrate=baud, timeout=0.05)
    port.port = f"{board.serial}?timeout={PATIENCE}" if is_remote else board.serial
    port.dtr = port.rts = False
    port.open()
    try:
        yield port
    finally:
        port.close()


def read_until(port: serial.Serial, wanted: bytes, seconds: float = PATIENCE, start: bytes = b"") -> bytes:
    seen, end = start, time.monotonic() + seconds
    while wanted not in seen:
        assert time.monotonic() < end, f"{wanted!r} did not come; got {seen[-2000:]!r}"
        seen += port.read(max(1, port.in_waiting))
    return seen


def pulse_reset(port: serial.Serial) -> None:
    port.rts = True
    time.sleep(0.1)  # the length of the pulse, not a wait for something
    port.rts = False


@pytest.mark.real
def test_identify_write_and_capture_over_rfc2217(tmp_path: Path, esptool: Esptool) -> None:
    """The run's sequence: stub kept between two calls, then a reset whose log is complete from the first ROM byte."""
    build = build_folder(tmp_path / "build")
    with VirtualBoard(mac="24:6f:28:aa:bb:cc") as board:
        identified = esptool(board, "--after", "no-reset-stub", "flash-id").stdout
        assert "ESP32-D0WD-V3 (revision v3.1)" in identified
        assert "24:6f:28:aa:bb:cc" in identified
        assert "Detected flash size: 4MB" in identified
        written = esptool(board, "--before", "no-reset", "-b", 921600, "write-flash", *plan(build)).stdout
        assert "Stub flasher is already running" in written
        assert written.count("Hash of data verified") == 4
        with opened(board) as port:
            pulse_reset(port)
            log = read_until(port, b"app: ready\r\n")
    assert log.startswith(b"ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13")
    for expected in (b"boot: Defaulting to factory image", b"Project name:     demo", b"App version:      1.0.0"):
        assert expected in log
    assert board.violations == []
    assert len(board.writers_seen) == 2  # the capture wrote nothing


@pytest.mark.real
def test_flash_content_and_erase_on_a_pty(tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard) -> None:
    data = code_like_bytes(200_000, seed=7)
    source, copy = tmp_path / "data.bin", tmp_path / "copy.bin"
    source.write_bytes(data)
    esptool(pty_board, "-b", 921600, "write-flash", "0x20000", source)
    assert pty_board.flash[0x20000 : 0x20000 + len(data)] == data
    assert pty_board.flash[0x1F000:0x20000] == b"\xff" * 0x1000
    esptool(pty_board, "-b", 921600, "read-flash", "0x20000", len(data), copy)
    assert copy.read_bytes() == data
    esptool(pty_board, "verify-flash", "0x20000", source)
    blocks = len([event for event in pty_board.events if event.name == "flash_data"])
    assert "skipping write" in esptool(pty_board, "write-flash", "--skip-flashed", "0x20000", source).stdout
    assert len([event for event in pty_board.events if event.name == "flash_data"]) == blocks
    esptool(pty_board, "erase-region", "0x20000", "0x10000")
    assert pty_board.flash[0x20000:0x30000] == b"\xff" * 0x10000
    assert pty_board.flash[0x30000 : 0x20000 + len(data)] == data[0x10000:]
    esptool(pty_board, "erase-flash")
    assert pty_board.flash == b"\xff" * (4 << 20)


@pytest.mark.real
@pytest.mark.parametrize("options", [("--no-stub",), ("--no-stub", "-b", "460800"), ()])
def test_uncompressed_and_rom_writes(
    tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard, options: tuple[str, ...]
) -> None:
    data = code_like_bytes(20_001, seed=8)
    (tmp_path / "data.bin").write_bytes(data)
    esptool(pty_board, *options, "write-flash", "--no-compress", "0x10000", tmp_path / "data.bin")
    assert pty_board.flash[0x10000 : 0x10000 + len(data)] == data


def test_rom_deflate_and_slow_read(tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard) -> None:
    data = code_like_bytes(9_000, seed=9)
    (tmp_path / "data.bin").write_bytes(data)
    esptool(pty_board, "--no-stub", "--after", "no-reset", "write-flash", "-z", "0x10000", tmp_path / "data.bin")
    esptool(pty_board, "--no-stub", "--before", "no-reset", "read-flash", "0x10000", 9_000, tmp_path / "copy.bin")
    assert (tmp_path / "copy.bin").read_bytes() == data


def test_after_no_reset_the_rom_answers_again(esptool: Esptool, pty_board: VirtualBoard) -> None:
    esptool(pty_board, "--after", "no-reset", "flash-id")
    esptool(pty_board, "--before", "no-reset", "--no-stub", "read-mac")
    assert {event.detail for event in pty_board.events if event.name == "loader_sync"} == {"rom"}


def test_a_pty_boots_when_it_is_opened_after_a_loader_session(
    tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard
) -> None:
    script = Script((Log("up"), Reply("status", "status: fine"), Echo("> ")))
    esptool(pty_board, "-b", 921600, "write-flash", *plan(build_folder(tmp_path / "build", script=script)))
    with opened(pty_board) as port:
        log = read_until(port, b"app: up\r\n")
        assert log.startswith(b"ets Jul 29 2019")
        port.write(b"status\n")
        read_until(port, b"status: fine\r\n")
        port.write(b"one\r\ntwo\r\n")
        read_until(port, b"> two\r\n")
    with opened(pty_board) as port:  # no loader in between: nothing restarts
        port.write(b"three\n")
        assert read_until(port, b"> three\r\n").startswith(b"> three")


@pytest.mark.real
@pytest.mark.parametrize(
    ("chip", "title"),
    [("esp32s3", "ESP32-S3 (QFN56) (revision v0.2)"), ("esp32c3", "ESP32-C3 (QFN32) (revision v0.4)")],
)
def test_newer_chips(tmp_path: Path, esptool: Esptool, chip: str, title: str) -> None:
    build = build_folder(tmp_path / "build", chip=chip)
    with VirtualBoard(chip=chip, transport="pty", link=tmp_path / "port", mac="34:85:18:01:02:03") as board:
        output = esptool(board, "-b", 921600, "write-flash", *plan(build)).stdout
        assert title in output
        assert "34:85:18:01:02:03" in output
        with opened(board) as port:
            assert f"boot.{chip}: SPI Flash Size : 4MB".encode() in read_until(port, b"app: ready")


@pytest.mark.real
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample firmware is not beside the repository")
def test_a_released_firmware_boots_its_factory_app(tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard) -> None:
    """Its otadata is blank, so the factory (recovery) application starts, not the player."""
    words = ["--flash-mode", "dio", "--flash-freq", "80m", "--flash-size", "detect"]
    esptool(pty_board, "-b", 921600, "write-flash", *words, *plan(SAMPLES, "flash_project_args"))
    flash = pty_board.flash
    for offset, path in zip(*[iter(plan(SAMPLES, "flash_project_args"))] * 2, strict=True):
        data = Path(path).read_bytes()
        assert flash[int(offset, 16) : int(offset, 16) + len(data)] == data
    with opened(pty_board) as port:
        log = read_until(port, b"Calling app_main()")
    assert b"boot: ESP-IDF v4.3.5-dirty 2nd stage bootloader" in log
    assert b"segment 0: paddr=00010020" in log
    assert b"Loaded app from partition at offset 0x10000" in log
    assert pty_board.wait_for("app_started", PATIENCE).detail == "factory Squeezelite-ESP32 I2S-4MFlash-1716"


@pytest.mark.parametrize("file", ["demo.bin", "bootloader/bootloader.bin"])
def test_esptool_accepts_built_images(tmp_path: Path, file: str) -> None:
    build_folder(tmp_path, version="2.3.4")
    argv = [sys.executable, "-m", "esptool", "image-info", str(tmp_path / file)]
    output = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert output.count("(valid)") == 2
    if file == "demo.bin":
        assert "App version: 2.3.4" in output


def test_an_image_for_a_newer_chip_is_refused_at_boot(tmp_path: Path, esptool: Esptool) -> None:
    build = build_folder(tmp_path / "build", min_rev=300, bootloader_needs=Needs())
    with VirtualBoard(revision=(1, 0), transport="pty", link=tmp_path / "port") as board:
        esptool(board, "-b", 921600, "write-flash", *plan(build))
        with opened(board) as port:
            log = read_until(port, b"rst:0x3 (SW_RESET)")
    assert b"E (107) boot_comm: Image requires chip rev >= v3.0, but chip is v1.0" in log
    assert b"No bootable app partitions in the partition table" in log


def test_a_second_connection_is_witnessed_and_heard(tmp_path: Path) -> None:
    """Exclusivity is proved by this witness: both may write, and it says who."""
    with VirtualBoard() as board:
        with opened(board) as first, opened(board) as second:
            first.write(b"one")
            second.write(b"two")
            assert (
                str(os.getpid()) not in board.wait_for("second_writer", PATIENCE).detail
            )  # own process: not looked at
            board.wait_for("connected", PATIENCE, count=2)
        board.wait_for("disconnected", PATIENCE, count=2)
        with opened(board) as third:
            third.write(b"three")
        assert len(board.violations) == 1
        assert len(board.writers_seen) == 3


def test_two_programs_on_a_pty_are_witnessed(pty_board: VirtualBoard) -> None:
    writer = "import sys; f = open(sys.argv[1], 'r+b', buffering=0); f.write(b'x'); sys.stdin.read()"
    argv = [sys.executable, "-c", writer, pty_board.serial]
    with (
        subprocess.Popen(argv, stdin=subprocess.PIPE) as first,
        subprocess.Popen(argv, stdin=subprocess.PIPE) as second,
    ):
        found = pty_board.wait_for("second_writer", PATIENCE).detail
        assert f"[{first.pid}]" in found
        assert f"[{second.pid}]" in found
    pty_board.wait_for("disconnected", PATIENCE, count=2)


@pytest.mark.parametrize("transport", ["rfc2217", "pty"])
def test_power_wired_with_the_board(tmp_path: Path, transport: str) -> None:
    link = tmp_path / "port" if transport == "pty" else None
    with VirtualBoard(transport=transport, link=link) as board:  # type: ignore[arg-type]  # parametrised literal
        address = board.serial
        with opened(board) as port:
            board.power(False)
            with pytest.raises((OSError, TypeError)):  # pyserial's rfc2217 raises TypeError at its end
                read_until(port, b"never")
        assert not board.powered
        with pytest.raises(serial.SerialException), opened(board):
            pass
        board.power(True)
        assert board.serial == address
        with opened(board) as port:
            read_until(port, b"rst:0x10 (RTCWDT_RTC_RESET)")


def test_a_self_powered_bridge_stays_and_the_chip_behind_it_is_dead(tmp_path: Path) -> None:
    with (
        VirtualBoard(transport="pty", link=tmp_path / "port", power_wiring="self_powered") as board,
        opened(board) as port,
    ):
        read_until(port, b"invalid header: 0xffffffff")
        board.power(False)
        port.reset_input_buffer()
        assert port.read(1) == b""
        board.power(True)
        assert b"rst:0x1 (POWERON_RESET)" in read_until(port, b"invalid header")


def test_a_plug_that_the_board_ignores(tmp_path: Path) -> None:
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["ignores_power"]) as board:
        board.power(False)
        assert board.powered
        assert Path(board.serial).exists()


def test_a_board_that_only_a_power_cycle_revives(tmp_path: Path, esptool: Esptool) -> None:
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["needs_power_cycle"]) as board:
        failed = esptool(board, "--connect-attempts", 1, "read-mac", ok=False)
        assert "No serial data received" in failed.stdout + failed.stderr
        board.power(False)
        board.power(True)
        esptool(board, "read-mac")


def test_silent_for_two_openings_then_healthy(tmp_path: Path) -> None:
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["silent:2"]) as board:
        board.wait_for("boot", PATIENCE)  # that of switching it on, which an opening in its midst would still hear
        for _ in range(2):
            before = time.monotonic()
            with opened(board) as port:
                board.wait_for("boot", PATIENCE, after=before)
                assert port.read(1) == b""
        with opened(board) as port:
            read_until(port, b"invalid header")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("panic", b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited)"),
        ("brownout", b"Brownout detector was triggered"),
        ("boot_loop", b"rst:0xc (SW_CPU_RESET)"),
        ("wrong_boot_mode", b"waiting for download"),
        ("console_spam", b"spam spam spam\r\nspam spam spam\r\n"),
    ],
)
def test_faults_of_the_app_show_on_the_console(tmp_path: Path, loaded_flash: bytes, fault: str, seen: bytes) -> None:
    with VirtualBoard(transport="rfc2217", faults=[fault], flash=loaded_flash) as board, opened(board) as port:
        pulse_reset(port)
        read_until(port, seen)


@pytest.fixture
def loaded_flash(tmp_path: Path) -> bytes:
    flash = bytearray(b"\xff" * (4 << 20))
    words = plan(build_folder(tmp_path / "loaded"))
    for offset, path in zip(words[::2], words[1::2], strict=True):
        data = Path(path).read_bytes()
        flash[int(offset, 16) : int(offset, 16) + len(data)] = data
    return bytes(flash)


def test_every_second_boot_panics(loaded_flash: bytes) -> None:
    with VirtualBoard(faults=["panic_every_second_boot"], flash=loaded_flash) as board:
        board.wait_for("app_started", PATIENCE, count=2)
        board.wait_for("reset", PATIENCE, detail="software_cpu")
        with opened(board) as port:
            pulse_reset(port)
            read_until(port, b"Guru Meditation")
            read_until(port, b"app: ready")


def test_a_script_can_panic(tmp_path: Path, esptool: Esptool, pty_board: VirtualBoard) -> None:
    build = build_folder(tmp_path / "build", script=Script((Log("start"), Panic("StoreProhibited"))))
    esptool(pty_board, "-b", 921600, "write-flash", *plan(build))
    with opened(pty_board) as port:
        log = read_until(port, b"rst:0xc (SW_CPU_RESET)")
    assert b"panic'ed (StoreProhibited)" in log
    assert b"Rebooting...\r\nets Jul 29 2019" in log


@pytest.mark.real
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("md5_mismatch", "MD5 of file does not match"),
        ("corrupt_byte_to_host@9000", ""),
        ("wrong_chip=esp32c3", "This chip is ESP32-C3, not ESP32"),
    ],
)
def test_faults_that_break_a_write(tmp_path: Path, esptool: Esptool, fault: str, message: str) -> None:
    (tmp_path / "data.bin").write_bytes(code_like_bytes(60_000, seed=3))
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=[fault]) as board:
        failed = esptool(
            board,
            "--chip",
            "esp32",
            "-b",
            921600,
            "write-flash",
            "0x10000",
            tmp_path / "data.bin",
            ok=fault.startswith("corrupt"),
        )
    assert message in failed.stdout + failed.stderr


def test_a_port_that_vanishes_in_mid_write_comes_back(tmp_path: Path, esptool: Esptool) -> None:
    """esptool reconnects and writes once more."""
    data = code_like_bytes(60_000, seed=3)
    (tmp_path / "data.bin").write_bytes(data)
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["port_vanishes@30000=0.05"]) as board:
        esptool(board, "-b", 921600, "write-flash", "0x10000", tmp_path / "data.bin")
        board.wait_for("port_vanished", PATIENCE)
        assert board.flash[0x10000 : 0x10000 + len(data)] == data


def test_a_corrupt_block_is_sent_again(tmp_path: Path, esptool: Esptool) -> None:
    data = code_like_bytes(60_000, seed=3)
    (tmp_path / "data.bin").write_bytes(data)
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["corrupt_byte_from_host@20000"]) as board:
        esptool(board, "-b", 921600, "write-flash", "0x10000", tmp_path / "data.bin")
        assert board.flash[0x10000 : 0x10000 + len(data)] == data


def test_a_port_that_returns_under_another_name(tmp_path: Path) -> None:
    link = tmp_path / "port"
    with VirtualBoard(transport="pty", link=link, faults=["port_renamed@3=0.05"]) as board, opened(board) as port:
        port.write(b"12345")
        board.wait_for("port_returned", PATIENCE)
        assert not link.is_symlink()
        assert board.serial == str(tmp_path / "port-2")
        with opened(board) as again:
            read_until(again, b"invalid header")


def test_held_at_a_point_the_board_answers_nothing(tmp_path: Path) -> None:
    """The barrier for kill tests: the process is stopped in the middle of a write, whatever the machine's speed."""
    (tmp_path / "data.bin").write_bytes(code_like_bytes(100_000, seed=4))
    with VirtualBoard(transport="pty", link=tmp_path / "port") as board:
        board.hold_at("flash_data", count=2)
        argv = [
            sys.executable,
            "-m",
            "esptool",
            "-p",
            board.serial,
            "write-flash",
            "0x10000",
            str(tmp_path / "data.bin"),
        ]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as flashing:
            board.wait_for("held", PATIENCE)
            assert flashing.poll() is None
            flashing.kill()
        board.wait_for("disconnected", PATIENCE)
        board.release()
        assert len([event for event in board.events if event.name == "flash_data"]) == 2


def test_stop_is_immediate_while_held_and_paced(loaded_flash: bytes) -> None:
    board = VirtualBoard(pace=True, erase_times=True, boot_seconds=60, flash=loaded_flash)
    board.start()
    board.hold_at("reset")
    with opened(board) as port:
        pulse_reset(port)
        board.wait_for("held", PATIENCE)
        began = time.monotonic()
        board.stop()
        assert time.monotonic() - began < 30, "it boots for a minute"


def test_pacing_follows_the_negotiated_rate(tmp_path: Path, esptool: Esptool) -> None:
    """52 KB of noise at 460800 baud take 1.15 s on the wire, whatever the host; at 115200 they would take 4.5."""
    (tmp_path / "data.bin").write_bytes(os.urandom(52_000))
    with VirtualBoard(transport="pty", link=tmp_path / "port", pace=True) as board:
        esptool(board, "-b", 460800, "write-flash", "0x10000", tmp_path / "data.bin")
        began = board.wait_for("flash_begin", PATIENCE)
        took = board.wait_for("md5", PATIENCE).seconds - began.seconds
    assert took > 1.05
    assert took < 3 or took < 3 * slowness()


def test_a_port_held_by_another_program(tmp_path: Path) -> None:
    with VirtualBoard(transport="pty", link=tmp_path / "port", faults=["port_held"]) as board:
        with pytest.raises(serial.SerialException, match="lock"):
            serial.Serial(board.serial, exclusive=True)
        board.wait_for("connected", PATIENCE)
