"""`strongroom policy …`: what is in force, and whether a changed set would be valid."""

from pathlib import Path
from typing import Annotated

import typer

from web.cli.failure import BadUsage
from web.cli.invocation import current
from web.cli.output import print_line, print_table

app = typer.Typer(help="Policies: what decides every access.", no_args_is_help=False)

_POLICY_FILES = (".cedar", ".cedarschema")


@app.command("list")
def show_all(
    context: typer.Context,
    *,
    text: Annotated[
        bool, typer.Option("--text", help="Print the policies' text instead of a table.")
    ] = False,
) -> None:
    """List the policies in force."""
    invocation = current(context)
    found = invocation.logged_in().get("/policies")

    def people() -> None:
        if text:
            print_line("\n\n".join(policy["text"] for policy in found["items"]))
            return
        print_table(
            ("Id", "Effect", "Controls…", "File?"),
            (
                (policy["id"], policy["effect"], policy["controls"], policy["file"])
                for policy in found["items"]
            ),
            "No policy is in force, so nothing is allowed.",
        )

    invocation.show(found, people)


@app.command("check")
def check(
    context: typer.Context,
    path: Annotated[
        list[Path],
        typer.Argument(help="Policy files, or a folder of them with its schema.", show_default=False),
    ],
) -> None:
    """Check a set of policy files; nothing becomes active."""
    invocation = current(context)
    files: dict[str, str] = {}
    for given in path:
        chosen = [given]
        if given.is_dir():
            chosen = sorted(file for file in given.iterdir() if file.suffix in _POLICY_FILES)
        for file in chosen:
            if file.name in files:
                raise BadUsage(f"There are two files named {file.name}.", "Name each once.")
            try:
                files[file.name] = file.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise BadUsage(f"{file} is not text in UTF-8.", "Mend it, then try again.") from None
    if not files:
        raise BadUsage("There are no policy files there.", "Name .cedar files and the .cedarschema.")
    checked = invocation.logged_in().post("/policies/check", {"files": files})
    invocation.show(
        checked, lambda: print_line(f"Valid: {checked['policies']} policies, bundle {checked['bundle']}.")
    )
