"""`strongroom image …`: what guests are made from."""

from pathlib import Path
from typing import Annotated

import typer

from web.cli.client import part
from web.cli.failure import BadUsage
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table
from web.cli.quantities import write_size, write_time
from web.cli.waiting import finish, started

app = typer.Typer(help="Images that guests are made from.", no_args_is_help=False)

NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the job's id and return.")]


@app.command("build")
def build(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Which image: debian-12.", show_default=False)],
    no_wait: NoWait = False,
) -> None:
    """Build an image from its distribution's archive."""
    invocation = current(context)
    client = invocation.logged_in()
    job = client.post("/images/build", {"name": name})
    if no_wait:
        started(invocation, job)
        return
    image = finish(client, job, f"Building {name}")
    invocation.show(image, lambda: print_line(f"The image {name} is ready."))


@app.command("import")
def import_image(
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name for the image.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="Disk image on the daemon's machine.", show_default=False)],
    image_format: Annotated[
        str | None, typer.Option("--format", help="qcow2 or raw.", show_default="by the file's name")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What its SHA-256 must be.")] = None,
    no_wait: NoWait = False,
) -> None:
    """Import a disk image (qcow2 or raw); with --sha256 only if it is that one."""
    invocation = current(context)
    chosen = image_format or {".qcow2": "qcow2", ".raw": "raw", ".img": "raw"}.get(file.suffix)
    if chosen not in {"qcow2", "raw"}:
        raise BadUsage("The format of the image is not known.", "Say --format qcow2 or --format raw.")
    client = invocation.logged_in()
    body = {"name": name, "path": str(file.absolute()), "format": chosen}
    if sha256 is not None:
        body["sha256"] = sha256.lower()
    job = client.post("/images/import", body)
    if no_wait:
        started(invocation, job)
        return
    image = finish(client, job, f"Importing {name}")
    invocation.show(image, lambda: print_line(f"The image {name} is ready."))


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List the images."""
    invocation = current(context)
    found = invocation.logged_in().get("/images")
    invocation.show(
        found,
        lambda: print_table(
            ("Name", "#Size", "Made?", "Id?"),
            (
                (
                    image["name"],
                    write_size(image["virtual_size_bytes"]),
                    write_time(image["created_at"]),
                    image["id"],
                )
                for image in found["items"]
            ),
            "There are no images yet; build one with `strongroom image build debian-12`.",
        ),
    )


@app.command("verify")
def verify(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the image.", show_default=False)],
) -> None:
    """Compare an image's files with the digests noted when it was made."""
    invocation = current(context)
    checked = invocation.logged_in().post(f"/images/{part(name)}/verify")
    invocation.show(
        checked,
        lambda: print_facts([(key.replace("_", " "), value) for key, value in checked.items()]),
    )
