"""What browsers load and others wrote (htmx, Bootstrap): fetched by the set-up, found here by name.

Pages without these files still work, but look bare; so whoever opens one, the daemon's log and `strongroom doctor` say
that they are missing, instead of leaving it to be guessed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "static" / "vendor"
#: What the pages use; `.ci/fetch-assets` puts it there.
NAMES: Final = ("bootstrap.css", "htmx.js", "htmx-sse.js")
MISSING: Final = "Files that the pages need (htmx, Bootstrap) are missing, so pages look bare."
REMEDY: Final = "Run `make assets` in Strongroom's folder, then restart the daemon."


def find(folder: Path = FOLDER) -> Mapping[str, str]:
    """Paths below the static folder by name, versions included; empty when any of them is missing."""
    try:
        listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        files = {name: listed[name]["file"] for name in NAMES}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not all(isinstance(file, str) and (folder / file).is_file() for file in files.values()):
        return {}
    return {name: f"{folder.name}/{file}" for name, file in files.items()}


def inspect(folder: Path = FOLDER) -> dict[str, Any]:
    """An item for `strongroom doctor`."""
    if find(folder):
        return {
            "name": "pages",
            "ok": True,
            "sentence": "The files that the pages need are there.",
            "remedy": "",
        }
    return {"name": "pages", "ok": False, "sentence": MISSING, "remedy": REMEDY}
