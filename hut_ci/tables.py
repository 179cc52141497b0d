"""The tables that the program is built on: YAML files of its own, beside the modules that own them."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def rows(path: Path, key: str) -> dict[str, Any]:
    """The mapping below `key`. By libyaml where PyYAML has it, which takes a tenth of the time of every start."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(path.read_bytes(), loader)[key]  # noqa: S506 (both are safe loaders)
    return found
