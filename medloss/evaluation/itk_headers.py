"""What ITK lets pass in the text headers of NRRD and MetaImage files, and must not pass here.

Without a voxel size in the file ITK says 1 mm; of a damaged compressed MetaImage it returns
whatever was in memory, and says so on the terminal only.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

from medloss.evaluation.errors import CaseError

_LONGEST_HEADER = 1 << 20
_BYTES_PER_TYPE = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}


def check_nrrd(path: Path) -> None:
    """Raise if the file is no NRRD file or does not say how large a voxel is.

    Raises:
        CaseError: see above.
    """
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    if not start.startswith(b"NRRD"):
        raise CaseError(f"{path} is not an NRRD file")
    header = re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]
    if not re.search(rb"^(spacings|space directions)\s*:", header, re.MULTILINE):
        raise CaseError(f"{path} states no voxel size (neither spacings nor space directions)")


def check_metaimage(path: Path) -> None:
    """Raise if the file is no MetaImage file, states no voxel size, or its voxels are damaged.

    Raises:
        CaseError: see above.
    """
    with path.open("rb") as file:
        start = file.read(_LONGEST_HEADER)
    end = re.search(rb"^ElementDataFile\s*=[ \t]*([^\r\n]*)\r?\n?", start, re.MULTILINE)
    if end is None:
        raise CaseError(f"{path} is not a MetaImage file")
    fields = dict(
        re.findall(r"^(\w+)\s*=[ \t]*(.*?)\s*$", start[: end.end()].decode("latin-1"), re.M)
    )
    if not fields.keys() & {"ElementSpacing", "ElementSize"}:
        raise CaseError(f"{path} states no voxel size (ElementSpacing)")
    expected = _data_length(fields)
    name = fields["ElementDataFile"]
    if expected is None or name.startswith("LIST") or "%" in name:
        return  # one file a slice, or a type that ITK may refuse by itself
    local = name in ("LOCAL", "Local", "local")
    source = path if local else path.parent / name
    if not source.is_file():
        raise CaseError(f"{path} keeps its voxels in {name}, which does not exist")
    skip = end.end() if local else 0
    if fields.get("CompressedData", "False").lower() in ("true", "1"):
        _check_stream(path, source, skip, expected)
    elif source.stat().st_size - skip < expected:
        raise CaseError(
            f"{path} is truncated: {source.stat().st_size - skip} bytes of voxels where its header "
            f"says {expected}"
        )


def _data_length(fields: dict[str, str]) -> int | None:
    size = _BYTES_PER_TYPE.get(fields.get("ElementType", ""))
    channels = fields.get("ElementNumberOfChannels", "1")
    sizes = fields.get("DimSize", "").split()
    if size is None or not sizes or not all(word.isdigit() for word in (*sizes, channels)):
        return None
    return size * int(channels) * math.prod(int(word) for word in sizes)


def _check_stream(path: Path, source: Path, skip: int, expected: int) -> None:
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # zlib or gzip, as MetaImage allows
    length = 0
    try:
        with source.open("rb") as file:
            file.seek(skip)
            while chunk := file.read(1 << 20):
                length += len(stream.decompress(chunk))
    except zlib.error as error:
        raise CaseError(f"{path} is damaged: its compressed voxels cannot be read") from error
    if not stream.eof or length < expected:
        raise CaseError(
            f"{path} is truncated: {length} bytes of voxels where its header says {expected}"
        )
