"""``python -m medloss`` is the command ``medloss``, and this is where both begin."""

from medloss.runtime import interruption


def main() -> None:
    """Run the command; Ctrl-C is caught before anything else is imported."""
    interruption.catch()
    from medloss.cli import main as command

    command(prog_name="medloss")


if __name__ == "__main__":
    main()
