"""`python -m hut_ci`, the same as the console script `hut-ci`."""

from __future__ import annotations

import signal
import sys
import traceback


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    import click

    from hut_ci import cli
    from hut_ci.errors import Cancelled, HutCiError

    try:
        code = cli.call()
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        code = 130
    except SystemExit as error:
        # click ends with 1 when nobody reads its output any more (`hut-ci … | head`).
        code = 128 + signal.SIGPIPE if error.code == 1 else error.code
    except Cancelled as error:
        code = 128 + error.signal_number
    except HutCiError as error:
        show(error)
        code = error.exit_code
    except Exception as error:
        # Python would end with 1, which here says that the firmware failed.
        show_bug(error)
        code = 70
    sys.exit(code if isinstance(code, int) else 0)


def show(error: Exception) -> None:
    """Print what happened, the likely why and what to do, to standard error: a build's own names may be in it."""
    from hut_ci.reports.escaping import ci_log

    lines = [f"hut-ci: {error}"]
    lines += [f"  why:  {why}" for why in [getattr(error, "why", "")] if why]
    lines += [f"  do:   {todo}" for todo in [getattr(error, "todo", "")] if todo]
    print(ci_log("\n".join(lines)), file=sys.stderr)


def show_bug(error: Exception) -> None:
    """Print, to standard error, a block that says all that a bug report needs."""
    import platform

    from hut_ci import __version__
    from hut_ci.reports.escaping import ci_log

    python = f"Python {platform.python_version()}"
    lines = [
        f"hut-ci: this is a bug in hut-ci, not in your firmware: {type(error).__name__}: {error}",
        "  do:   report it with the lines below",
        "",
        f"hut-ci {__version__}, {python}, esptool {_esptool_version()}, {platform.platform()}",
        "".join(traceback.format_exception(error)),
    ]
    print(ci_log("\n".join(lines)), file=sys.stderr)


def _esptool_version() -> str:
    """From its metadata: esptool is never imported."""
    try:
        from importlib.metadata import version

        return version("esptool")
    except Exception:  # where even this is broken, the report is still worth having, and the exit code is 70
        return "unknown"


if __name__ == "__main__":
    main()
