"""Commands on the site as a whole: init, seal, unseal."""

from typing import Annotated

import typer

from web.cli.failure import BadUsage
from web.cli.invocation import current
from web.cli.output import print_facts, print_line
from web.cli.secret_input import only_one_reads_stdin, read_secret

_SEALS = ("passphrase",)
PassphraseFile = Annotated[
    str | None,
    typer.Option(help="File with the key store's passphrase; - reads standard input.", show_default="asks"),
]


def init(
    context: typer.Context,
    admin: Annotated[str, typer.Option(help="Name of the first account, administrator and custodian.")],
    seal: Annotated[str, typer.Option(help="What opens the key store: passphrase.")] = "passphrase",
    passphrase_file: PassphraseFile = None,
    admin_password_file: Annotated[
        str | None,
        typer.Option(help="File with the account's password; - reads standard input.", show_default="asks"),
    ] = None,
) -> None:
    """Make a site: log, key store, certificate and the first account. Runs without the daemon."""
    from vault.operations.init import init_site  # noqa: PLC0415 - what it needs is not loaded for other commands

    invocation = current(context)
    if seal not in _SEALS:
        raise BadUsage(f"There is no seal {seal!r}.", f"Seals: {', '.join(_SEALS)}.")
    only_one_reads_stdin(passphrase_file, admin_password_file)
    passphrase = read_secret(
        passphrase_file, "Passphrase of the key store", "--passphrase-file", confirm=True
    )
    password = read_secret(
        admin_password_file, f"Password for {admin}", "--admin-password-file", confirm=True
    )
    made = init_site(invocation.settings, admin, password, bytearray(passphrase.encode()))

    def people() -> None:
        print_facts(
            [
                ("Data folder", made["data_dir"]),
                ("Address", made["url"]),
                ("Account", made["administrator"]["name"]),
                ("Log's origin", made["origin"]),
                ("Log's public key", made["vkey"]),
                ("First epoch's key", made["epoch_vkey"]),
            ]
        )
        print_line("\nKeep both public keys elsewhere: whoever verifies the log needs them.")
        print_line(
            "Go on with `strongroom serve --background`, then `strongroom login` and `strongroom unseal`."
        )

    invocation.show(made, people)


def unseal(
    context: typer.Context,
    *,
    passphrase_file: PassphraseFile = None,
    accept_older: Annotated[
        bool,
        typer.Option(
            "--accept-older", help="Go on with a key store older than the state: its newest copy is lost."
        ),
    ] = False,
) -> None:
    """Open the key store; guests marked so then start by themselves."""
    invocation = current(context)
    client = invocation.logged_in()
    passphrase = read_secret(passphrase_file, "Passphrase of the key store", "--passphrase-file")
    found = client.post("/keystore/unseal", {"passphrase": passphrase, "accept_older": accept_older})
    invocation.show(found, lambda: print_line("The key store is unsealed."))


def seal(context: typer.Context) -> None:
    """Close the key store; running guests run on, none can be started."""
    invocation = current(context)
    found = invocation.logged_in().post("/keystore/seal")
    invocation.show(found, lambda: print_line("The key store is sealed."))
