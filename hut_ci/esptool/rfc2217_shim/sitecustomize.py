"""Loaded by our esptool process alone, and only for rfc2217:// ports: a read timeout is no business of the far end.

pyserial renegotiates the whole line (four options, 50 ms polls each) whenever `timeout` is set, and esptool sets it
for every command: 25.8 s for a flash that takes 2.9 s without. Where pyserial has changed, nothing is touched.
"""

try:
    from typing import Any

    from serial import rfc2217

    port_class: Any = rfc2217.Serial
    if "_timeout" in port_class.read.__code__.co_names and isinstance(port_class.timeout, property):
        port_class.timeout = property(
            lambda port: port._timeout, lambda port, seconds: setattr(port, "_timeout", seconds)
        )
except Exception:  # noqa: S110 (slow is better than broken: this runs before any program of ours can report)
    pass
