"""`python -m hut_ci`, the same as the console script `hut-ci`."""

from __future__ import annotations

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
    except Cancelled as error:
        code = 128 + error.signal_number
    except HutCiError as error:
        show(error)
        code = error.exit_code
    except Exception:
        # Python would end with 1, which here says that the firmware failed.
        traceback.print_exc()
        code = 70
    sys.exit(code if isinstance(code, int) else 0)


def show(error: Exception) -> None:
    """Print what happened, the likely why and what to do, to standard error."""
    lines = [f"hut-ci: {error}"]
    lines += [f"  why:  {why}" for why in [getattr(error, "why", "")] if why]
    lines += [f"  do:   {todo}" for todo in [getattr(error, "todo", "")] if todo]
    print("\n".join(lines), file=sys.stderr)


if __name__ == "__main__":
    main()
