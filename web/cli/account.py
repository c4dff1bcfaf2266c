"""`strongroom account …` and `strongroom token …`: who may log in, and how services do."""

from typing import Annotated

import typer

from web.cli.client import part
from web.cli.invocation import current
from web.cli.output import print_line, print_table
from web.cli.quantities import write_time
from web.cli.secret_input import only_one_reads_stdin, read_secret

accounts = typer.Typer(help="Accounts of people and services.", no_args_is_help=False)
tokens = typer.Typer(help="API tokens of your own account.", no_args_is_help=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the account.", show_default=False)]
PasswordFile = Annotated[
    str | None, typer.Option(help="File with the password; - reads standard input.", show_default="asks")
]


@accounts.command("create")
def create(
    context: typer.Context,
    *,
    name: Name,
    role: Annotated[
        list[str],
        typer.Option(
            help="administrator, operator, custodian, approver, officer or auditor; may be repeated."
        ),
    ],
    password_file: PasswordFile = None,
    service: Annotated[
        bool, typer.Option("--service", help="It belongs to a program, not to a person.")
    ] = False,
) -> None:
    """Add an account."""
    invocation = current(context)
    client = invocation.logged_in()
    password = read_secret(password_file, f"Password for {name}", "--password-file", confirm=True)
    made = client.post("/accounts", {"name": name, "password": password, "roles": role, "service": service})
    invocation.show(made, lambda: print_line(f"The account {name} is made, as {', '.join(made['roles'])}."))


@accounts.command("list")
def show_all(context: typer.Context) -> None:
    """List the accounts."""
    invocation = current(context)
    found = invocation.logged_in().get("/accounts")
    invocation.show(
        found,
        lambda: print_table(
            ("Name", "Roles…", "Active", "Service?", "Last log-in?", "Id?"),
            (
                (
                    account["name"],
                    account["roles"],
                    account["active"],
                    account["service"],
                    write_time(account["last_login_at"]),
                    account["id"],
                )
                for account in found["items"]
            ),
            "There are no accounts.",
        ),
    )


@accounts.command("disable")
def disable(context: typer.Context, name: Name) -> None:
    """Disable an account and end its sessions at once; its name is never used again."""
    invocation = current(context)
    disabled = invocation.logged_in().post(f"/accounts/{part(name)}/disable")
    invocation.show(disabled, lambda: print_line(f"The account {name} is disabled."))


@accounts.command("password")
def change_password(
    context: typer.Context,
    old_password_file: Annotated[
        str | None,
        typer.Option(help="File with the present password; - reads standard input.", show_default="asks"),
    ] = None,
    password_file: PasswordFile = None,
) -> None:
    """Change your own password."""
    invocation = current(context)
    only_one_reads_stdin(old_password_file, password_file)
    client = invocation.logged_in()
    old = read_secret(old_password_file, "Present password", "--old-password-file")
    new = read_secret(password_file, "New password", "--password-file", confirm=True)
    changed = client.put("/accounts/me/password", {"old_password": old, "new_password": new})
    invocation.show(changed, lambda: print_line("Your password is changed."))


@tokens.command("create")
def create_token(
    context: typer.Context,
    label: Annotated[str, typer.Option(help="What it is for.")],
    days: Annotated[int, typer.Option(help="Days until it expires, at most 365.")] = 90,
) -> None:
    """Make an API token; it is shown once."""
    invocation = current(context)
    made = invocation.logged_in().post("/tokens", {"label": label, "days": days})
    invocation.show(made, lambda: print_line(made["token"]))


@tokens.command("list")
def show_tokens(context: typer.Context) -> None:
    """List your API tokens, without the tokens themselves."""
    invocation = current(context)
    found = invocation.logged_in().get("/tokens")
    invocation.show(
        found,
        lambda: print_table(
            ("Id", "Label…", "Made?", "Expires"),
            (
                (
                    token["id"],
                    token["label"],
                    write_time(token["created_at"]),
                    write_time(token["expires_at"]),
                )
                for token in found["items"]
            ),
            "You have no API tokens.",
        ),
    )


@tokens.command("revoke")
def revoke_token(
    context: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token.", show_default=False)],
) -> None:
    """Revoke one of your API tokens at once."""
    invocation = current(context)
    revoked = invocation.logged_in().delete(f"/tokens/{part(token_id)}")
    invocation.show(revoked, lambda: print_line("The token is revoked."))
