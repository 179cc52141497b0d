"""Builds and flash plans: `load` a build, check that it `fit`s a board, `describe` it.

One file per build format (flasher_args, flash_args, platformio, web_manifest, merged, offsets), each of which
yields a Listing; plan.py reads the files and checks them with image.py, partitions.py and layout.py.
"""

from hut_ci.firmware.describe import describe
from hut_ci.firmware.fit import fit
from hut_ci.firmware.plan import load

__all__ = ["describe", "fit", "load"]
