"""`strongroom units`: systemd's units for this installation, with its own paths in them."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from web.cli.invocation import current
from web.cli.output import print_line

FOLDER: Final = Path(__file__).parents[1] / "systemd"
_UNITS: Final = ("strongroom@.service", "strongroom-memory.service")
_DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "running.md"


def rendered(name: str) -> str:
    """A unit's text with the paths of this installation."""
    program = Path(sys.executable).with_name("strongroom")
    text = (FOLDER / name).read_text(encoding="utf-8")
    return text.replace("@PROGRAM@", str(program)).replace("@DOCUMENTATION@", str(_DOCUMENTATION))


def write_units(
    context: typer.Context,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write them to.", show_default="prints them")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Also what lets the daemon build images, with less of a sandbox.")
    ] = False,
) -> None:
    """Print systemd's units, or write them to a folder such as /etc/systemd/system."""
    invocation = current(context)
    texts = {name: rendered(name) for name in _UNITS}
    if images:
        texts["strongroom@.service.d/images.conf"] = rendered("images.conf")
    written = []
    if out is not None:
        for name, text in texts.items():
            target = out / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            written.append(str(target))

    def people() -> None:
        if out is None:
            sys.stdout.write("\n".join(f"# {name}\n{text}" for name, text in texts.items()))
            return
        print_line("\n".join(written))
        print_line("Go on with `systemctl daemon-reload`, then `systemctl enable --now strongroom@main`.")

    invocation.show({"units": texts, "written": written}, people)
