"""The style sheet can be read by everybody, and nothing of it comes from elsewhere."""

import re
from pathlib import Path

import pytest

import web

_FOLDER = Path(web.__file__ or "").parent
_STYLE = (_FOLDER / "static" / "strongroom.css").read_text(encoding="utf-8")
#: WCAG 2.2, success criterion 1.4.3: text against what lies behind it.
_LEAST_CONTRAST = 4.5


def _palette(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", _STYLE, re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[0]))
    return (
        colours
        if scheme == "light"
        else colours | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[1]))
    )


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "behind"),
    [
        ("text", "ground"),
        ("text", "sheet"),
        ("text", "plain-ground"),
        ("soft", "ground"),
        ("soft", "sheet"),
        ("soft", "plain-ground"),
        ("accent", "ground"),
        ("accent", "sheet"),
        ("on-accent", "accent"),
        ("good", "good-ground"),
        ("warn", "warn-ground"),
        ("bad", "bad-ground"),
        ("bad", "sheet"),
    ],
)
def test_text_stands_out_from_what_lies_behind_it(scheme: str, text: str, behind: str) -> None:
    colours = _palette(scheme)
    assert _contrast(colours[text], colours[behind]) >= _LEAST_CONTRAST


def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in [*(_FOLDER / "static").iterdir(), *(_FOLDER / "templates").iterdir()]:
        if file.name == "vendor":  # others' files: the content policy keeps them from fetching anything
            continue
        written = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in written, file.name
        assert "@import" not in written
