"""Loaded by our esptool process alone, and only for rfc2217:// ports. Where pyserial has changed, nothing is touched.

A read timeout is no business of the far end: pyserial renegotiates the whole line (four options, 50 ms polls each)
whenever `timeout` is set, and esptool sets it for every command: 25.8 s for a flash that takes 2.9 s without.
And it empties what was received until nothing comes, which a board that talks faster never lets happen.
"""

try:
    from typing import Any

    from serial import rfc2217

    port_class: Any = rfc2217.Serial
    if "_timeout" in port_class.read.__code__.co_names and isinstance(port_class.timeout, property):
        port_class.timeout = property(
            lambda port: port._timeout, lambda port, seconds: setattr(port, "_timeout", seconds)
        )
    if "qsize" in port_class.reset_input_buffer.__code__.co_names:

        def reset_input_buffer(port: Any) -> None:
            port.rfc2217_send_purge(rfc2217.PURGE_RECEIVE_BUFFER)
            for _ in range(port._read_buffer.qsize()):
                port._read_buffer.get()

        port_class.reset_input_buffer = reset_input_buffer
except Exception:  # noqa: S110 (slow is better than broken: this runs before any program of ours can report)
    pass
