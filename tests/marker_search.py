"""Searches every file of the host for a marker that was written inside a guest.

In every shape it could have leaked in.
"""

import base64
import mmap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leak:
    """A file that holds the marker, and in which shape."""

    path: Path
    shape: str


def shapes_of(marker: str) -> dict[str, bytes]:
    """The byte strings by which the marker could be found: raw, hex, base64 at each alignment, UTF-16."""
    raw = marker.encode()
    shapes = {
        "raw": raw,
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "UTF-16LE": marker.encode("utf-16-le"),
        "UTF-16BE": marker.encode("utf-16-be"),
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        # The first and the last group mix with what stands around the marker.
        shapes[f"base64 shifted by {shift}"] = encoded[4:-4]
    return shapes


def search(markers: Iterable[str], files: Iterable[Path]) -> tuple[int, int, list[Leak]]:
    """Search files for markers.

    Returns:
        number of files searched, bytes searched, leaks found.
    """
    shapes = {
        f"{shape} of marker {n}": pattern
        for n, marker in enumerate(markers, 1)
        for shape, pattern in shapes_of(marker).items()
    }
    count, size, leaks = 0, 0, []
    for path in files:
        try:
            length = path.stat().st_size
            if length == 0:
                continue
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                leaks += [Leak(path, shape) for shape, pattern in shapes.items() if view.find(pattern) >= 0]
        except (OSError, ValueError):
            continue  # gone meanwhile, or a file that cannot be mapped
        count += 1
        size += length
    return count, size, leaks
