"""Boards made of software: they speak the ESP serial protocol to the real esptool and boot what is in their flash."""
