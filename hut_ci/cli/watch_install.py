"""`hut-ci watch install`: both processes as services under two users."""

from __future__ import annotations

import click


@click.command("install", short_help="Set both processes up as services under two users (root).")
def install() -> None:
    """Set both processes up as services."""
