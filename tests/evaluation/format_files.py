"""Small files in the formats that people have, written by the formats' own descriptions."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPACING = (2.0, 1.5, 3.0)
SHAPE = (7, 6, 5)


def label_map(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Labels 1 and 2 at no place that a flip or an exchange of axes leaves as it is."""
    labels = np.zeros(shape, np.uint8)
    labels[1:4, 1:5, :2] = 1
    labels[5, :3, ...] = 2
    return labels


def perturbed(labels: np.ndarray) -> np.ndarray:
    """A copy with voxels of either label at another place."""
    other = labels.copy()
    other[2:4] = labels[3:5]
    other[4, 0], other[5, 0] = 2, 0
    return other


def dice(prediction: np.ndarray, reference: np.ndarray, label: int) -> float:
    a, b = prediction == label, reference == label
    return 2 * int((a & b).sum()) / (int(a.sum()) + int(b.sum()))


def write_mgh(
    path: Path,
    array: np.ndarray,
    *,
    good: bool = True,
    directions: Sequence[Sequence[float]] = ((-1, 0, 0), (0, 0, -1), (0, 1, 0)),
    spacing: Sequence[float] = SPACING,
    tags: bytes = bytes(20),
) -> Path:
    """Big-endian, 284 bytes of header; direction after direction, and the place of the middle."""
    kinds = {"u1": 0, "i4": 1, "f4": 3, "i2": 4, "u2": 10}
    sizes = (*array.shape, 1)[:4]
    head = struct.pack(">7i", 1, *sizes, kinds[array.dtype.str[1:]], 0)
    head += struct.pack(">h3f", good, *spacing)
    head += struct.pack(">9f3f", *np.ravel(directions), 10, 20, 30)
    content = head.ljust(284, b"\0") + array.astype(array.dtype.newbyteorder(">")).tobytes("F")
    content += tags
    path.write_bytes(gzip.compress(content) if path.suffix == ".mgz" else content)
    return path


def write_png(path: Path, rows: np.ndarray, *, colours: int = 0, bits: int = 8) -> Path:
    """Grey, RGB (``colours=3``) or numbers of a palette (``colours=1``), rows of the picture."""
    kind = {0: 0, 1: 3, 3: 2}[colours]
    if bits == 1:
        lines = [b"\0" + np.packbits(row).tobytes() for row in rows]
    else:
        kept = rows.astype(">u2" if bits == 16 else "u1")
        lines = [b"\0" + row.tobytes() for row in kept]
    parts = [(b"IHDR", struct.pack(">2I5B", rows.shape[1], rows.shape[0], bits, kind, 0, 0, 0))]
    if colours == 1:
        parts.append((b"PLTE", bytes(range(30))))
    parts += [(b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in parts
        )
    )
    return path


def write_nrrd(path: Path, array: np.ndarray | bytes, shape: Sequence[int], **more: Any) -> Path:
    """A header with what ``more`` adds or changes, and the voxels; keys go under ``keys``."""
    keys = more.pop("keys", {})
    fields = {
        "type": "uchar" if isinstance(array, bytes) else array.dtype.name,
        "dimension": len(shape),
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, shape)),
        "space directions": "(2,0,0) (0,1.5,0) (0,0,3)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(1,2,3)",
        **{name.replace("_", " "): value for name, value in more.items()},
    }
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items() if value != "")]
    lines += [f"{name}:={value}" for name, value in keys.items()]
    voxels = array if isinstance(array, bytes) else array.tobytes("F")
    end = "\n" if "data file" in fields else "\n\n"
    path.write_bytes(("\n".join(lines) + end).encode() + voxels)
    return path


def segment_keys(*segments: tuple[str, int, int], **more: str) -> dict[str, str]:
    """Keys of 3D Slicer: name, value and layer of every segment."""
    keys = {}
    for number, (name, value, layer) in enumerate(segments):
        start = f"Segment{number}_"
        keys |= {f"{start}ID": f"Segment_{number + 1}", f"{start}Name": name}
        keys |= {f"{start}LabelValue": str(value), f"{start}Layer": str(layer)}
    return {**keys, **more}


def write_ome_zarr(
    path: Path,
    array: np.ndarray,
    *,
    version: str = "0.4",
    scale: Sequence[float] = (3.0, 1.5, 2.0),
    unit: str = "millimeter",
    axes: str = "zyx",
    **settings: Any,
) -> Path:
    """The label image ``labels/organs`` of an image, at one level."""
    import zarr

    described = {
        "multiscales": [
            {
                "axes": [{"name": n, "type": "space", "unit": unit} for n in axes],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": list(scale)},
                            {"type": "translation", "translation": [5.0] * len(axes)},
                        ],
                    }
                ],
            }
        ],
        "image-label": {
            "properties": [
                {"label-value": 1, "name": "organ"},
                {"label-value": 2, "name": "lesion"},
            ]
        },
    }
    number = 2 if version == "0.4" else 3
    for folder, content in (
        ("", {}),
        ("labels", {"labels": ["organs"]}),
        ("labels/organs", described),
    ):
        attributes = content if number == 2 else {"ome": {"version": version, **content}}
        zarr.create_group(
            str(path / folder), zarr_format=number, attributes=attributes, overwrite=False
        )
    made = zarr.create_array(
        str(path / "labels" / "organs" / "0"),
        shape=array.shape,
        dtype=array.dtype,
        zarr_format=number,
        **{"chunks": tuple(-(-size // 2) for size in array.shape), **settings},
    )
    made[...] = array
    return path


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path
