"""SLIP framing (RFC 1055), as the ESP loaders use it."""

END = b"\xc0"
ESCAPE = b"\xdb"
ESCAPED_END = b"\xdb\xdc"
ESCAPED_ESCAPE = b"\xdb\xdd"


def encode(payload: bytes) -> bytes:
    """One frame: END, the payload with END and ESCAPE replaced, END."""
    return END + payload.replace(ESCAPE, ESCAPED_ESCAPE).replace(END, ESCAPED_END) + END


def unescape(body: bytes) -> bytes:
    """The payload of a frame body. ESCAPED_END goes first: an escaped escape may be followed by a plain 0xDC."""
    if ESCAPE not in body:
        return body
    parts = body.split(ESCAPED_ESCAPE)
    return ESCAPE.join(part.replace(ESCAPED_END, END) for part in parts)


class SlipDecoder:
    """Cuts a byte stream into frames, whatever the chunk borders.

    Bytes before the first END are noise to a loader and are dropped. Two frames may share one END, so every END both
    closes and opens; empty frames are not reported. A frame that lost its END melts into the next one, as on a wire.
    """

    def __init__(self, longest_frame: int = 1 << 20) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._longest = longest_frame
        self._inside = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of all frames that `data` completes."""
        frames: list[bytes] = []
        pieces = data.split(END)
        for index, piece in enumerate(pieces):
            if index:
                self._close(frames)
            if piece and self._inside:
                self._append(piece)
        return frames

    def _close(self, frames: list[bytes]) -> None:
        if self._size:
            frames.append(unescape(b"".join(self._pieces)))
        self._pieces, self._size, self._inside = [], 0, True

    def _append(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self._longest:
            self._pieces, self._size, self._inside = [], 0, False
