"""The application's own start-up code, up to the call of app_main()."""

from __future__ import annotations

import re

from hut_ci.virtual.boot_log import BootLog
from hut_ci.virtual.image_format import SPI_MODES, AppDescriptor, Image, dotted
from hut_ci.virtual.second_stage import COLOURS, BoardFacts, Loaded, full_revision

_SINCE_APP_INIT = (5, 2)


def start_app(board: BoardFacts, loaded: Loaded, log: BootLog) -> None:
    """cpu_start (and app_init since ESP-IDF 5.2) up to the call of app_main()."""
    chip, app = board.chip, loaded.image.app
    log.colours = COLOURS in loaded.data
    if chip.cores > 1:
        log.idf("I", "cpu_start", "Multicore app")
        log.idf("I", "cpu_start", "Pro cpu up.")
        log.idf("I", "cpu_start", f"Starting app cpu, entry point is 0x{loaded.image.entry + 0x1D0:08x}", ms=0)
        log.raw(log.idf_line("I", "cpu_start", "App cpu up.", at=0))
    else:
        log.idf("I", "cpu_start", "Unicore app")
    log.idf("I", "cpu_start", "Pro cpu start user code", ms=9)
    log.idf("I", "cpu_start", "cpu freq: 160000000 Hz", ms=0)
    if app:
        _name_app(app, loaded.image, board, log)
    log.idf("I", "heap_init", "Initializing. RAM available for dynamic allocation:")
    log.idf("I", "heap_init", f"At {chip.memory.dram + 0x2D80:08X} len 0002D280 (180 KiB): DRAM", ms=7)
    log.idf("I", "spi_flash", "detected chip: winbond")
    log.idf("I", "spi_flash", f"flash io: {SPI_MODES[min(loaded.image.spi_mode, 5)].lower()}")
    if idf_version(app) >= (5, 0):
        log.idf("I", "main_task", "Started on CPU0")
        log.idf("I", "main_task", "Calling app_main()", ms=10)


def _name_app(app: AppDescriptor, image: Image, board: BoardFacts, log: BootLog) -> None:
    since_52 = idf_version(app) >= _SINCE_APP_INIT
    tag = "app_init" if since_52 else "cpu_start"
    sha = app.elf_sha256.hex()[: 9 if since_52 else 16]
    log.idf("I", tag, "Application information:", ms=0)
    log.idf("I", tag, f"Project name:     {app.project}")
    log.idf("I", tag, f"App version:      {app.version}")
    log.idf("I", tag, f"Compile time:     {app.compile_date} {app.compile_time}")
    log.idf("I", tag, f"ELF file SHA256:  {sha}...")
    log.idf("I", tag, f"ESP-IDF:          {app.idf}")
    if idf_version(app) >= (5, 1):
        efuse = "efuse_init" if since_52 else "cpu_start"
        log.idf("I", efuse, f"Min chip rev:     {dotted(image.min_revision)}")
        log.idf("I", efuse, f"Max chip rev:     {dotted(image.max_revision)} ")
        log.idf("I", efuse, f"Chip rev:         {dotted(full_revision(board.revision))}")


def idf_version(app: AppDescriptor | None) -> tuple[int, int]:
    """Major and minor number of the ESP-IDF that built the app."""
    found = re.match(r"v(\d+)\.(\d+)", app.idf) if app else None
    return (int(found[1]), int(found[2])) if found else (5, 1)
