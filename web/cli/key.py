"""`strongroom key …`: keys as the key store knows them, never their values."""

from typing import Annotated

import typer

from web.cli.client import part
from web.cli.invocation import current
from web.cli.output import print_facts, print_table
from web.cli.quantities import write_time

app = typer.Typer(help="Keys: purpose, owner, state; never their values.", no_args_is_help=False)


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List the keys."""
    invocation = current(context)
    found = invocation.logged_in().get("/keys")
    invocation.show(
        found,
        lambda: print_table(
            ("Id", "Purpose", "State", "#Version?", "Made?", "Owner?"),
            (
                (
                    key["id"],
                    key["purpose"],
                    key["state"],
                    key["version"],
                    write_time(key["created_at"]),
                    key["owner"],
                )
                for key in found["items"]
            ),
            "There are no keys yet.",
        ),
    )


@app.command("show")
def show(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.", show_default=False)],
) -> None:
    """Show one key."""
    invocation = current(context)
    key = invocation.logged_in().get(f"/keys/{part(key_id)}")
    invocation.show(
        key, lambda: print_facts([(name.replace("_", " "), value) for name, value in key.items()])
    )
