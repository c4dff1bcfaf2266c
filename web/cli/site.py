"""Commands on the site as a whole: init, seal, unseal, doctor."""

from typing import Annotated, Any

import typer

from policies.errors import ExitCode
from web import vendored
from web.cli.failure import BadUsage, CommandFailed, DaemonUnreachable, NotLoggedIn, failed
from web.cli.invocation import Invocation, current
from web.cli.output import print_facts, print_line, print_table
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
    passphrase_file: PassphraseFile = None,
) -> None:
    """Open the key store; guests marked so then start by themselves."""
    invocation = current(context)
    client = invocation.logged_in()
    passphrase = read_secret(passphrase_file, "Passphrase of the key store", "--passphrase-file")
    found = client.post("/keystore/unseal", {"passphrase": passphrase})
    invocation.show(found, lambda: print_line("The key store is unsealed."))


def seal(context: typer.Context) -> None:
    """Close the key store; running guests run on, none can be started."""
    invocation = current(context)
    found = invocation.logged_in().post("/keystore/seal")
    invocation.show(found, lambda: print_line("The key store is sealed."))


def doctor(
    context: typer.Context,
    *,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended (as root, on this machine).")
    ] = False,
    host_only: Annotated[
        bool, typer.Option("--host-only", help="Look at this machine alone, not at the daemon.")
    ] = False,
) -> None:
    """Show what was found, what is missing, and the command that mends it."""
    invocation = current(context)
    found = _look_here(invocation, fix=fix) if fix or host_only else _ask_or_look(invocation)
    wrong = [item for item in found["items"] if not item["ok"]]

    def people() -> None:
        for sentence in found.get("done", []):
            print_line(sentence)
        print_table(
            ("", "What", "Found…", "What mends it…"),
            (
                ("ok" if item["ok"] else "missing", item["name"], item["sentence"], item["remedy"])
                for item in found["items"]
            ),
            "Nothing was looked at.",
        )

    if not wrong:
        invocation.show(found, people)
        return
    if not invocation.json:
        people()
    names = ", ".join(item["name"] for item in wrong)
    reason = failed(
        "host.not_ready",
        f"{len(wrong)} of {len(found['items'])} things need mending: {names}.",
        "Do what the list says, or run `strongroom doctor --fix` as root.",
        ExitCode.HOST_FAILURE,
    )
    raise CommandFailed(reason.body, found)


def _ask_or_look(invocation: Invocation) -> dict[str, Any]:
    try:
        return invocation.logged_in().get("/host/inspection")
    except (DaemonUnreachable, NotLoggedIn):
        return _look_here(invocation, fix=False)


def _look_here(invocation: Invocation, *, fix: bool) -> dict[str, Any]:
    from vault.operations import host  # noqa: PLC0415 - loads libvirt

    found = host.inspect_host(invocation.settings, fix=fix)
    return found | {"items": [*found["items"], vendored.inspect()]}
