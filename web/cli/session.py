"""`strongroom login`, `logout`, `whoami`: the log-in of this user on this machine."""

from typing import Annotated

import typer

from web.cli.failure import BadUsage, CommandFailed
from web.cli.invocation import current
from web.cli.output import print_facts, print_line
from web.cli.quantities import write_time
from web.cli.secret_input import only_one_reads_stdin, read_secret


def log_in(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Name of the account.", show_default=False)] = None,
    password_file: Annotated[
        str | None, typer.Option(help="File with the password; - reads standard input.", show_default="asks")
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="Use an API token from this file instead of a password.")
    ] = None,
) -> None:
    """Log in; the session's token is kept for later commands (0600)."""
    invocation = current(context)
    only_one_reads_stdin(password_file, token_file)
    if (name is None) == (token_file is None):
        raise BadUsage("Give the name of an account, or --token-file.", "See `strongroom login --help`.")
    if token_file is not None:
        token = read_secret(token_file, "API token", "--token-file")
        who = invocation.client(token=token).get("/whoami")
        invocation.credentials.store(invocation.address, invocation.profile, token, who["name"])
        document = who
    else:
        password = read_secret(password_file, f"Password of {name}", "--password-file")
        begun = invocation.client().post("/sessions", {"name": name, "password": password})
        invocation.credentials.store(
            invocation.address, invocation.profile, begun.pop("token"), begun["account"]["name"]
        )
        document = begun
    until = write_time(document["expires_at"])
    invocation.show(
        document,
        lambda: print_line(f"Logged in as {', '.join(document['roles'])}, at the longest until {until} UTC."),
    )


def log_out(context: typer.Context) -> None:
    """End the session and forget its token."""
    invocation = current(context)
    client = invocation.logged_in()
    try:
        ended = client.delete("/sessions/current")
    except CommandFailed as failure:
        if failure.body["code"] not in {"session.expired", "session.not_authenticated"}:
            raise
        ended = {"session": None, "ended": True}  # it was over already
    invocation.credentials.forget(invocation.address, invocation.profile)
    invocation.show(ended, lambda: print_line("Logged out."))


def whoami(context: typer.Context) -> None:
    """Show who is logged in."""
    invocation = current(context)
    who = invocation.logged_in().get("/whoami")
    invocation.show(
        who,
        lambda: print_facts(
            [
                ("Account", who["name"]),
                ("Roles", who["roles"]),
                ("Session", who["session"]),
                ("Until", write_time(who["expires_at"])),
            ]
        ),
    )
