"""`strongroom completion …`: prints the script that lets a shell complete this command line."""

import sys
from typing import Annotated

import typer
from typer.main import get_command

from web.cli.completion_names import KINDS, names
from web.cli.completion_scripts import script
from web.cli.completion_words import read_words
from web.cli.invocation import current
from web.cli.nearest import one_of

app = typer.Typer(
    help="Completion for your shell: `source <(strongroom completion bash)`.", no_args_is_help=False
)


@app.command("bash")
def for_bash(context: typer.Context) -> None:
    """Print the script for bash; put it into /etc/bash_completion.d/strongroom."""
    _print(context, "bash")


@app.command("zsh")
def for_zsh(context: typer.Context) -> None:
    """Print the script for zsh; put it into a folder of $fpath as _strongroom."""
    _print(context, "zsh")


@app.command("fish")
def for_fish(context: typer.Context) -> None:
    """Print the script for fish; put it into ~/.config/fish/completions/strongroom.fish."""
    _print(context, "fish")


@app.command("names", hidden=True)
def show_names(
    context: typer.Context, kind: Annotated[str, typer.Argument(help="guest, image, job, …")]
) -> None:
    """Print names of a kind, one a line, for the scripts; prints nothing when they cannot be had."""
    one_of(kind, KINDS, "kind of name")
    invocation = current(context)
    found = names(invocation, kind)
    invocation.show({"items": found, "next": None}, lambda: _lines(found))


def _lines(found: list[str]) -> None:
    sys.stdout.write("".join(f"{name}\n" for name in found))


def _print(context: typer.Context, shell: str) -> None:
    from web.cli.main import app as whole  # noqa: PLC0415 - it holds this module's commands

    text = script(shell, read_words(get_command(whole)))
    current(context).show({"shell": shell, "script": text}, lambda: _write(text))


def _write(text: str) -> None:
    sys.stdout.write(text)
