"""What lies in a folder: the files of each case, as its layout says, and what is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from medloss.evaluation.inputs.layouts import Layout, matcher
from medloss.evaluation.reading.formats import PROBABILITIES
from medloss.evaluation.reading.images import case_name

PAPERS = (
    *(".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".xml", ".db"),
    *(".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".xlsx", ".html", ".pdf", ".docx"),
    *(".py", ".sh", ".pkl", ".pth", ".pt", ".out", ".err", ".lock", ".sha256", ".md5"),
)
"""Suffixes of what lies beside images and is none: no case, even if both folders have the name."""

HEADLESS = (".raw", ".zraw", ".bin", ".dat", ".img")
"""Suffixes of voxels whose header is another file, under any name: of no use alone, and no case."""

_PACKED = ("gz", "bz2", "xz", "zst", "zip")
_BETWEEN_WORDS = "-_."
_MOST_SEARCHED = 10_000


def printable(text: str) -> str:
    r"""Text that can be written anywhere: a name of a file may hold bytes that are none.

    Example:
        >>> printable("case_\udcff")
        'case_\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class FolderEntry:
    """A file of a folder, or a folder in it that was not searched.

    Args:
        path: where it is.
        relative: to the folder, with slashes.
        name: without its suffix, where it is an image.
        folder: whether it is a folder, and no image that is one.
        problem: why it cannot be looked into, else empty.
    """

    path: Path
    relative: str
    name: str | None = None
    folder: bool = False
    problem: str = field(default="", compare=False)

    @property
    def stem(self) -> str:
        """The relative path without its suffix.

        Example:
            >>> FolderEntry(Path("ref/s1/liver.nii.gz"), "s1/liver.nii.gz", "liver").stem
            's1/liver'
        """
        before, slash, name = self.relative.rpartition("/")
        return before + slash + (self.name or stem_of(name))


def entries(folder: Path, depth: int | None) -> Iterator[FolderEntry]:
    """What lies in a folder, so many folders deep, in order.

    Names with a leading dot are the operating system's, such as macOS's ``._case.nii.gz``. A folder
    that is called like an image is one. Links to folders are followed, but never in a circle.

    Raises:
        ValueError: the folder itself cannot be listed.
    """
    try:
        yield from _entries(folder, "", depth, ())
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed: {error.strerror or error}") from error


def _entries(
    folder: Path, before: str, depth: int | None, above: tuple[tuple[int, int], ...]
) -> Iterator[FolderEntry]:
    status = folder.stat()
    here = status.st_dev, status.st_ino
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        relative = before + path.name
        name = case_name(path)
        # A folder is an image by its suffix, or by what it holds if that cannot be cases.
        image = name is not None and (name != path.name or depth == 0)
        if image or not is_folder(path):
            yield FolderEntry(path, relative, name)
        elif depth == 0 or here in above:
            yield FolderEntry(path, relative, folder=True)
        else:
            deeper = None if depth is None else depth - 1
            try:
                yield from _entries(path, f"{relative}/", deeper, (*above, here))
            except OSError as error:
                yield FolderEntry(path, relative, folder=True, problem=error.strerror or str(error))


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; one that cannot be looked at does not."""
    try:
        return path.is_dir()
    except OSError:
        return False


@dataclass
class FolderCase:
    """What one side has of a case."""

    images: list[tuple[str, Path]] = field(default_factory=list)
    others: list[tuple[str, Path]] = field(default_factory=list)


@dataclass(frozen=True)
class FolderSide:
    """What a folder holds.

    Args:
        folder: which.
        layout: how it is laid out.
        rank: patterns that its files have.
        cases: by name: images, and files of other formats, each with the name of its structure.
        rest: what no pattern fits.
        folders: of cases, relative to ``folder``.
    """

    folder: Path
    layout: Layout
    rank: tuple[str, ...]
    cases: dict[str, FolderCase]
    rest: tuple[FolderEntry, ...]
    folders: frozenset[str]

    @property
    def images(self) -> set[str]:
        """Names of cases that have an image."""
        return {name for name, case in self.cases.items() if case.images}


def read_folder(
    folder: Path, layout: Layout, *, alone: str = "", probabilities: bool = False
) -> FolderSide:
    """What a folder holds, by the first rank of patterns that any image has.

    Args:
        folder: which.
        layout: how it is laid out.
        alone: what the case is called where patterns name none.
        probabilities: whether an ``.npz`` is taken rather than the image beside it.

    Raises:
        ValueError: it cannot be listed, or a name fits a pattern in several ways.
    """
    found = tuple(entries(folder, layout.depth))
    for rank in layout.ranks:
        side = _by_rank(folder, layout, rank, found, alone)
        if side.images or rank == layout.ranks[-1]:
            break
    for case in side.cases.values():
        if len(case.images) > 1:
            case.images = _preferred(case.images, probabilities)
    return side


def _by_rank(
    folder: Path, layout: Layout, rank: tuple[str, ...], found: Sequence[FolderEntry], alone: str
) -> FolderSide:
    cases: dict[str, FolderCase] = {}
    rest, folders = [], set()
    for entry in found:
        # Whether it is a file at all is found out when it is read: then it is a failed case.
        places = (matcher(pattern)(entry.relative, entry.stem) for pattern in rank)
        place = next(filter(None, places), None) if looks_like_image(entry) else None
        if place is None:
            rest.append(entry)
            continue
        name, label, own_folder = place
        case = cases.setdefault(printable(name or alone), FolderCase())
        (case.others if entry.name is None else case.images).append((label, entry.path))
        if own_folder:
            folders.add(own_folder)
    return FolderSide(folder, layout, rank, cases, tuple(rest), frozenset(folders))


def images_in(entry: FolderEntry) -> int:
    """How many images a file may be, of whatever format, or a folder may hold."""
    if not entry.folder:
        return int(looks_like_image(entry))
    if entry.problem:
        return 1  # nobody knows
    try:
        inside = zip(entries(entry.path, None), range(_MOST_SEARCHED), strict=False)
        return sum(images_in(each) for each, _ in inside if each.problem or not each.folder)
    except ValueError:
        return 1


def looks_like_image(entry: FolderEntry) -> bool:
    """Whether a file may be an image, of a format that is read or of another one."""
    if entry.folder or entry.name is not None:
        return not entry.folder
    stem = stem_of(entry.path.name)
    # without the suffix of a compressed file, which follows it
    _, dot, suffix = entry.path.name[len(stem) :].lower().partition(".")
    kind = dot + suffix.partition(".")[0]
    return bool(kind) and kind not in (*PAPERS, *HEADLESS)


def stem_of(name: str) -> str:
    """The name without its suffix, and without the one before that of a compressed file.

    Example:
        >>> stem_of("a.ome.tif"), stem_of("b.mnc.gz")
        ('a.ome', 'b')
    """
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return name
    return stem_of(stem) if suffix.lower() in _PACKED else stem


def _preferred(paths: list[tuple[str, Path]], probabilities: bool) -> list[tuple[str, Path]]:
    """Of a label map and its probabilities, which are one prediction, the one that is wanted."""
    found: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    for label, path in paths:
        beside = str(path.with_name(case_name(path) or path.name))
        found.setdefault((label, beside), []).append((label, path))
    kept = []
    for group in found.values():
        wanted = [x for x in group if (x[1].suffix.lower() == PROBABILITIES) == probabilities]
        kept += wanted or group
    return kept


def left_over(side: FolderSide, names: set[str]) -> list[tuple[FolderEntry, bool]]:
    """What no pattern fits, and files of foreign formats that no case is made of."""
    foreign = [
        (FolderEntry(path, path.relative_to(side.folder).as_posix()), True)
        for name, case in side.cases.items()
        if case.images or name not in names
        for _, path in case.others
    ]
    rest = [(entry, False) for entry in side.rest]
    return sorted([*foreign, *rest], key=lambda each: each[0].path)


def place_beside(entry: FolderEntry, side: FolderSide, names: set[str]) -> str | None:
    """Where a file lies that belongs to a case and is no label of it; ``None`` without a case."""
    before, _, stem = printable(entry.stem).rpartition("/")
    if side.layout.flat:
        return "{case}" if stem in names and not entry.folder else None
    folders = [folder for folder in side.folders if entry.relative.startswith(folder)]
    if folders:
        own = max(folders, key=len)
        rest, case = printable(entry.stem.removeprefix(own)), PurePosixPath(own).name
        return "{case}/" + (f"{{case}}{rest[len(case) :]}" if rest.startswith(case) else rest)
    if entry.folder:
        return None
    ends = [len(stem), *(at for at, sign in enumerate(stem) if sign in _BETWEEN_WORDS)]
    for end in sorted(ends, reverse=True):
        if stem[:end] in names:
            return "/".join(filter(None, [before, "{case}" + stem[end:]]))
    return None
