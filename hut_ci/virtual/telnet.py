"""Telnet and the COM-PORT-OPTION of RFC 2217, the serving side: bytes in, pieces and answers out."""

from __future__ import annotations

from dataclasses import dataclass

_IAC, _SB, _SE = 0xFF, 0xFA, 0xF0
_WILL, _WONT, _DO, _DONT = 0xFB, 0xFC, 0xFD, 0xFE
_NEGOTIATIONS = (_WILL, _WONT, _DO, _DONT)

_COM_PORT = 0x2C
_SUPPORTED = (0x00, 0x01, 0x03, _COM_PORT)  # binary, echo, suppress go-ahead

_SET_BAUDRATE, _SET_CONTROL, _NOTIFY_MODEMSTATE = 1, 5, 7
_SERVER = 100  # an answer's code is the request's plus 100
_CTS_AND_DSR = 0x30
_DTR_ON, _DTR_OFF, _RTS_ON, _RTS_OFF = 8, 9, 11, 12


@dataclass(frozen=True, slots=True)
class Data:
    data: bytes


@dataclass(frozen=True, slots=True)
class LinesChanged:
    """None: that line stays as it was."""

    dtr: bool | None = None
    rts: bool | None = None


@dataclass(frozen=True, slots=True)
class BaudChanged:
    baud: int


Piece = Data | LinesChanged | BaudChanged


def escape(data: bytes) -> bytes:
    """Serial data as it goes into a telnet stream."""
    return data.replace(b"\xff", b"\xff\xff")


def _subnegotiation(code: int, value: bytes) -> bytes:
    return bytes([_IAC, _SB, _COM_PORT, code]) + escape(value) + bytes([_IAC, _SE])


class TelnetSession:
    """One client's stream. Feed what arrives; `answers` collects what has to be sent back, in order."""

    def __init__(self) -> None:
        self._rest = b""
        self._agreed: set[tuple[int, int]] = set()
        self._baud = 115200
        self._lines = {7: False, 10: False}
        self.answers = bytearray()

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that `data` completes, in order: whatever was sent before a line change comes before it."""
        stream = self._rest + data
        pieces: list[Piece] = []
        plain = bytearray()
        at = 0
        while True:
            found = stream.find(_IAC, at)
            if found < 0:
                plain += stream[at:]
                self._rest = b""
                break
            plain += stream[at:found]
            size = self._command_size(stream, found)
            if size == 0:
                self._rest = stream[found:]
                break
            if stream[found + 1] == _IAC:
                plain.append(_IAC)
            else:
                if plain:
                    pieces.append(Data(bytes(plain)))
                    plain.clear()
                pieces += self._command(stream[found : found + size])
            at = found + size
        if plain:
            pieces.append(Data(bytes(plain)))
        return pieces

    @staticmethod
    def _command_size(stream: bytes, at: int) -> int:
        """Length of the command that starts with the IAC at `at`; 0 while it is incomplete."""
        if len(stream) < at + 2:
            return 0
        code = stream[at + 1]
        if code in _NEGOTIATIONS:
            return 3 if len(stream) >= at + 3 else 0
        if code != _SB:
            return 2
        end = at + 2
        while (end := stream.find(_IAC, end)) >= 0 and end + 1 < len(stream):
            if stream[end + 1] == _SE:
                return end + 2 - at
            end += 2
        return 0

    def _command(self, command: bytes) -> list[Piece]:
        if command[1] in _NEGOTIATIONS:
            self._negotiate(command[1], command[2])
        elif command[1] == _SB and command[2] == _COM_PORT and len(command) > 5:
            return self._com_port(command[3], command[4:-2].replace(b"\xff\xff", b"\xff"))
        return []

    def _negotiate(self, verb: int, option: int) -> None:
        if verb not in (_WILL, _DO) or (verb, option) in self._agreed:
            return
        self._agreed.add((verb, option))
        yes, no = (_DO, _DONT) if verb == _WILL else (_WILL, _WONT)
        self.answers += bytes([_IAC, yes if option in _SUPPORTED else no, option])
        if option == _COM_PORT and verb == _WILL:
            self.answers += _subnegotiation(_NOTIFY_MODEMSTATE + _SERVER, bytes([_CTS_AND_DSR]))

    def _com_port(self, code: int, value: bytes) -> list[Piece]:
        if code == _SET_BAUDRATE:
            return self._set_baud(int.from_bytes(value, "big"))
        if code == _SET_CONTROL and value:
            return self._set_control(value[0])
        if code == _NOTIFY_MODEMSTATE:
            value = bytes([_CTS_AND_DSR])
        self.answers += _subnegotiation(code + _SERVER, value)
        return []

    def _set_baud(self, baud: int) -> list[Piece]:
        self._baud = baud or self._baud
        self.answers += _subnegotiation(_SET_BAUDRATE + _SERVER, self._baud.to_bytes(4, "big"))
        return [BaudChanged(self._baud)]

    def _set_control(self, wanted: int) -> list[Piece]:
        """Requests 7 and 10 ask for DTR and RTS; each is answered with its on or off code."""
        if wanted in self._lines:
            wanted += 1 if self._lines[wanted] else 2
        self.answers += _subnegotiation(_SET_CONTROL + _SERVER, bytes([wanted]))
        if wanted in (_DTR_ON, _DTR_OFF):
            self._lines[7] = wanted == _DTR_ON
            return [LinesChanged(dtr=wanted == _DTR_ON)]
        if wanted in (_RTS_ON, _RTS_OFF):
            self._lines[10] = wanted == _RTS_ON
            return [LinesChanged(rts=wanted == _RTS_ON)]
        return []
