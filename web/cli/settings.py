"""`strongroom settings`: what is set here, and where each value came from."""

from typing import Any

import typer

from vault.config import describe_settings, unknown_variables
from web.cli.invocation import current
from web.cli.output import print_line, print_table


def show_settings(context: typer.Context) -> None:
    """Show every setting: its value, where that came from, and what it may be. Needs no daemon."""
    invocation = current(context)
    items = describe_settings(invocation.settings)
    warnings = unknown_variables()
    document: dict[str, Any] = {"items": items, "next": None, "warnings": warnings}

    def people() -> None:
        print_table(
            ("Setting", "Value…", "From…", "May be…?", "What it is for…?"),
            ((one["name"], one["value"], one["origin"], one["allowed"], one["about"]) for one in items),
            "Nothing can be set.",
        )
        for sentence in warnings:
            print_line(sentence)

    invocation.show(document, people)
