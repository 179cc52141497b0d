"""What esptool's sentences mean: text → evidence, cause and remedy, in the order in which they are tried.

esptool ends with 2 for everything, so the text is all there is. Each row has a recorded text in tests/data/esptool.
Causes and remedies are the field's experience with real boards, not esptool's own advice.
"""

from __future__ import annotations

from dataclasses import dataclass

_AUTO_RESET = "check EN and IO0 wiring; a capacitor of 1-10 uF from EN to GND cures slow reset circuits"
_POWER = "check power, cable and USB hub; a power cycle revives a board that hangs in hardware"
_SLOWER = "a lower baud rate, a shorter cable or a direct USB port"
_NOT_OURS = "write to this board by hand, or use a board without these fuses"


@dataclass(frozen=True, slots=True)
class Row:
    """`pattern` is searched in the whole text; `reason` may use its groups as {1}, {2}."""

    name: str
    pattern: str
    evidence: str
    reason: str
    cause: str
    remedy: str


ROWS: tuple[Row, ...] = (
    # --- the port cannot be opened ---------------------------------------------------------------------------
    Row(
        "open_missing",
        r"Could not open .*(?s:.*)\[Errno (?:2|6|19)\]",
        "port_gone",
        "no such device",
        "the board is unplugged, unpowered, or came back under another name",
        "plug it in, or list its other by-id name in lab.yml",
    ),
    Row(
        "open_locked",
        r"Could not open .*(?s:.*)(?:Could not exclusively lock port|\[Errno 16\]|Device or resource busy)",
        "port_held",
        "in use",
        "another program has the port open",
        "end that program (a serial monitor, ModemManager, brltty)",
    ),
    Row(
        "open_permission",
        r"Could not open .*(?s:.*)(?:\[Errno 13\]|Permission denied)",
        "config",
        "no permission to open the serial port",
        "this user is not in the group that owns the device",
        "add the user to the group dialout (or uucp), and log in again",
    ),
    Row(
        "open_refused",
        r"Could not open (?:rfc2217|socket)://.*(?s:.*)(?:Connection refused|timed out|socket disconnected|"
        r"No route|unreachable|Name or service|timeout while waiting)",
        "port_gone",
        "the serial server does not answer",
        "the host that serves the port is down, or its server serves somebody else",
        "start the serial server, check host and port in lab.yml",
    ),
    Row(
        "open_not_serial",
        r"Could not open .*(?s:.*)(?:Inappropriate ioctl|\[Errno 21\])",
        "config",
        "the port is not a serial device",
        "the path in lab.yml names something else",
        "use the link under /dev/serial/by-id",
    ),
    Row(
        "open_other",
        r"Could not open .*, the port is busy or doesn't exist",
        "port_gone",
        "it cannot be opened",
        "the device or its driver refuses",
        _POWER,
    ),
    # --- no loader -------------------------------------------------------------------------------------------
    Row(
        "other_chip",
        r"This chip is ([\w-]+), not ([\w-]+)",
        "wrong_chip",
        "{1} instead of {2}",
        "another board is plugged in than lab.yml says",
        "correct the chip in lab.yml, or plug in the right board",
    ),
    Row(
        "boot_mode",
        r"Wrong boot mode detected \((0x[0-9a-fA-F]+)\)",
        "not_in_loader",
        "boot mode {1}",
        "the reset worked, but IO0 was not low: missing or slow auto-reset circuit",
        _AUTO_RESET,
    ),
    Row(
        "deaf",
        r"Download mode successfully detected, but getting no sync reply",
        "no_sync",
        "it talks but does not hear",
        "the line from the host to the board is broken, or something else drives the board's RX pin",
        "check the TX wire and what is connected to GPIO3",
    ),
    Row(
        "silent",
        r"Failed to connect to .*: No serial data received",
        "no_sync",
        "no serial data received",
        "the board has no power, hangs, or its reset line is not connected",
        _POWER,
    ),
    Row(
        "not_loader",
        r"Failed to connect to .*: Invalid head of packet \((0x[0-9A-F]+)\)",
        "not_in_loader",
        "something else than the loader answers, first byte {1}",
        "an application goes on running because reset or IO0 do not reach the chip, or the line is noisy",
        _AUTO_RESET,
    ),
    Row(
        "no_connection",
        r"Failed to connect to ",
        "no_sync",
        "it answers, but not in the loader's words",
        "noise, a wrong clock, or a board that keeps restarting",
        _POWER,
    ),
    # --- the port went away under us -------------------------------------------------------------------------
    Row(
        "write_blocked",
        r"serial exception error occurred: Write timeout",
        "link_error",
        "the port takes no more data",
        "the USB bridge or the serial server is stuck",
        "unplug the bridge, or use another hub",
    ),
    Row(
        "port_lost",
        r"A serial exception error occurred|(?:OSError|SerialException|termios\.error)\b.*"
        r"(?:Input/output error|No such device|device disconnected)",
        "port_gone",
        "it vanished while in use",
        "the cable, the hub or the board's supply gave way; a chip with native USB leaves when it restarts",
        _POWER,
    ),
    # --- the plan does not suit the board ----------------------------------------------------------------------
    Row(
        "too_large",
        r"(will not fit in \d+ bytes of flash|goes past [\w.]+ by)",
        "does_not_fit",
        "the build does not fit into the board's flash",
        "the flash chip is smaller than the plan needs",
        "choose a board with more flash, or a smaller partition table",
    ),
    Row(
        "wrong_image",
        r"is not an ([\w-]+) image\b.*Use --force",
        "does_not_fit",
        "the build is not for this chip ({1})",
        "the bootloader was built for another chip",
        "build for the slot's chip",
    ),
    Row(
        "wrong_revision",
        r"requires chip revision (.+?) \(this chip is revision (v?[\d.]+)\)\. Use --force",
        "does_not_fit",
        "the build requires chip revision {1}, the board has {2}",
        "the bootloader was built for newer or older silicon",
        "build for this revision, or choose another board",
    ),
    Row(
        "security",
        r"(Secure Boot V1 detected|Active security features detected|flash encryption .*enabled|"
        r"Flash encryption with Key Manager|in Secure Download Mode|consult Flash Encryption)",
        "does_not_fit",
        "the board's security fuses forbid it",
        "secure boot, flash encryption or secure download mode is burned into this chip",
        _NOT_OURS,
    ),
    # --- flash chip ----------------------------------------------------------------------------------------------
    Row(
        "still_empty",
        r"Write failed, the written flash region is empty",
        "verify_failed",
        "the region is still empty",
        "the flash chip is write-protected, or it is not the size or mode that was set",
        "check flash size and mode; erase the chip once",
    ),
    Row(
        "md5",
        r"MD5 of file does not match data in flash",
        "verify_failed",
        "MD5 differs",
        "a marginal flash chip or supply voltage; if the content differs each time, the line",
        "lower the flash frequency or the baud rate; the same wrong content twice is a dead flash chip",
    ),
    Row(
        "flash_refuses",
        r"result was (C400|C500|0108|0109|010A|CA00|CB00)\w*: ([^)]*)",
        "flash_chip_error",
        "{1}: {2}",
        "the flash chip does not follow: too fast for it, write-protected, or badly supplied",
        "lower the flash frequency and the baud rate; measure 3.3 V under load",
    ),
    Row(
        "flash_absent",
        r"Unable to verify flash chip connection|SPI command did not complete in time",
        "flash_chip_error",
        "the flash chip does not answer",
        "broken solder joint, wrong flash pins, or GPIO6-11 used for something else",
        "check what is connected to the flash pins",
    ),
    # --- the line ----------------------------------------------------------------------------------------------
    Row(
        "rejected",
        r"result was (C000|C100|C200|C300|C600|C700|C800|C900|010[1-7]|010[BCD])\w*: ([^)]*)",
        "link_error",
        "{1}: {2}",
        "bytes were lost or altered on the way to the chip",
        _SLOWER,
    ),
    Row(
        "stub",
        r"Failed to start stub flasher",
        "link_error",
        "the flasher stub did not start",
        "its upload was damaged, or the board restarted meanwhile",
        _POWER,
    ),
    Row(
        "stopped",
        r"(Serial data stream stopped|No more data to read from the serial port|Packet content transfer stopped|"
        r"chip stopped responding)",
        "link_error",
        "the answer stopped",
        "an answer was lost, the chip restarted, or the USB bridge dropped bytes",
        _SLOWER,
    ),
    Row(
        "garbled",
        r"(Invalid head of packet|Invalid SLIP escape|Response doesn't match request|Only got \d+ byte|"
        r"Unexpected response|Corrupt data|Digest mismatch|Expected digest|result was \w+: Unknown result)",
        "link_error",
        "the answer was garbled",
        "bytes were added, lost or altered on the way from the chip",
        _SLOWER,
    ),
    Row(
        "baud_refused",
        r"Failed to set baud rate (\d+)",
        "link_error",
        "the port does not run at {1} baud",
        "the USB bridge or its driver does not know this rate",
        "set a lower `baud` for the slot",
    ),
    # --- esptool itself ------------------------------------------------------------------------------------------
    Row(
        "unknown_chip",
        r"Failed to autodetect chip type",
        "flash_failed",
        "the chip's type is not recognised",
        "a chip that this esptool does not know, or a damaged answer",
        "update hut-ci's esptool",
    ),
    Row(
        "installation",
        r"Flasher stub data is missing|ModuleNotFoundError|ImportError",
        "flash_failed",
        "esptool's installation is incomplete",
        "a distribution package without the stub files, or a broken environment",
        "install hut-ci into a fresh environment",
    ),
    Row(
        "other",
        r"A fatal error occurred: *([^\n]+)",
        "flash_failed",
        "{1}",
        "a message that hut-ci does not know",
        "read esptool.log",
    ),
)
