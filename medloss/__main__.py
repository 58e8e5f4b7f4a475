"""``python -m medloss`` is the command ``medloss``."""

from medloss.cli import main

if __name__ == "__main__":
    main(prog_name="medloss")
