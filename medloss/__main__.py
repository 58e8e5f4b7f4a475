"""``python -m medloss`` is the command ``medloss``, and this is where both begin."""

import sys

from medloss.runtime import interruption


def main() -> None:
    """Run the command; Ctrl-C is caught before anything else is imported."""
    interruption.catch()
    import traceback

    from medloss.cli import main as command
    from medloss.cli.exits import STOPPED
    from medloss.cli.terminal import say

    try:
        command(prog_name="medloss")
    except Exception:  # noqa: BLE001  # which only --debug lets through
        say(traceback.format_exc(), err=True, nl=False)
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
