"""A CSV file that grows by a row at a time and outlives the training that writes it."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

EPOCH, ITERATION = "epoch", "iteration"


class TermTable:
    """Rows of numbers in a CSV file, which a resumed training continues.

    Each row is written and closed at once, so that a training that dies leaves whole rows behind;
    a last line without its end is dropped when the file is continued.

    Args:
        path: of the file; its folder is made.
        overwrite: begin anew where the file holds rows of another training.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self._header: list[str] | None = None

    def begin(self, epoch: int, iteration: int | None = None) -> int:
        """Keep the rows of what this training continues, drop those that it will write again.

        Args:
            epoch: the one that begins now, counted from 1.
            iteration: how many are done, where the loop knows; otherwise epochs decide.

        Returns:
            The last iteration that is kept, 0 where none is.

        Raises:
            FileExistsError: the file has rows, and none precedes this training.
            ValueError: the file is no such table.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return 0
        *whole, torn = self.path.read_text(encoding="utf-8").split("\n")
        rows = list(csv.reader(whole))
        if not rows:
            header: list[str] = []
        else:
            header, *rows = rows
        if header[:2] != [EPOCH, ITERATION] or any(len(row) != len(header) for row in rows):
            raise ValueError(f"csv: {self.path} holds something else than a table of loss terms")
        kept = [row for row in rows if _precedes(row, epoch, iteration)]
        if rows and not kept and not self.overwrite:
            raise FileExistsError(
                f"csv: {self.path} holds {len(rows)} rows of another training; expected rows "
                f"before epoch {epoch} to continue, another path, or overwrite=True"
            )
        if not kept:
            self.path.unlink()
            return 0
        self._header = header
        if len(kept) < len(rows) or torn:
            self._replace([header, *kept])
        return int(kept[-1][1])

    def add(self, epoch: int, iteration: int, columns: Mapping[str, float]) -> None:
        """Append a row; what is not finite leaves its cell empty if NaN.

        Raises:
            ValueError: other columns than the rows before.
        """
        header = [EPOCH, ITERATION, *columns]
        if self._header is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", [header])
            self._header = header
        if header != self._header:
            odd = sorted(set(header) ^ set(self._header)) or header
            raise ValueError(
                f"csv: {self.path} has other columns than this loss ({', '.join(odd)}); "
                f"give another path"
            )
        cells = ["" if math.isnan(number) else f"{number:.9g}" for number in columns.values()]
        self._write("a", [[str(epoch), str(iteration), *cells]])

    def _write(self, mode: str, rows: list[list[str]], path: Path | None = None) -> None:
        with open(path or self.path, mode, encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def _replace(self, rows: list[list[str]]) -> None:
        """All at once: whoever stops the process meets the old file or the new one."""
        beside = self.path.with_name(f"{self.path.name}.part")
        self._write("w", rows, beside)
        os.replace(beside, self.path)


def _precedes(row: list[str], epoch: int, iteration: int | None) -> bool:
    return int(row[0]) < epoch if iteration is None else int(row[1]) <= iteration
