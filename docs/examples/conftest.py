"""The scripts of this folder are run, not imported: importing them trains and measures."""

from pathlib import Path

collect_ignore = [path.name for path in Path(__file__).parent.glob("*.py")]
