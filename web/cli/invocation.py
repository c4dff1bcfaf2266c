"""One run of the command line: its global options, the settings they give, and the way to the daemon."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import typer

from vault.config import Settings, load_settings
from vault.errors import BadInput
from web.cli import output
from web.cli.client import Client, need_token
from web.cli.credentials import Credentials


@dataclass
class Invocation:
    """What every command gets.

    Attributes:
        json: print one JSON document instead of tables.
        url, data, ca_file, config: as given; None leaves it to the settings.
        profile: whose log-in is used (`--as`).
        watch_s: run the command again every so many seconds (`--watch`).
        answer_s: give up on an answer after this time; None waits as long as work may take.
        transport: how requests travel, for tests within one process.
    """

    json: bool = False
    url: str | None = None
    data: Path | None = None
    ca_file: Path | None = None
    config: Path | None = None
    profile: str = "default"
    transport: httpx.BaseTransport | None = None
    watch_s: int | None = None
    answer_s: float | None = None
    flags: dict[str, str | None] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials.usual)

    @cached_property
    def settings(self) -> Settings:
        """The settings of the instance this run is about."""
        flags = {"data_dir": str(self.data) if self.data else None, **self.flags}
        return load_settings(flags, file=self.config)

    @property
    def address(self) -> str:
        """Where the daemon should answer.

        Raises:
            BadInput: it is no https:// address.
        """
        address = (self.url or os.environ.get("STRONGROOM_URL") or self.settings.url).rstrip("/")
        if not address.startswith("https://"):
            raise BadInput(f"{address!r} is no https:// address.", "Strongroom answers by TLS only.")
        return address

    def client(self, *, token: str | None = None) -> Client:
        """A client with this token, or none."""
        return Client(
            self.address,
            token=token,
            ca_file=self._certificate(),
            transport=self.transport,
            view=None if self.watch_s is None else "watch",
            answer_s=self.answer_s,
        )

    def logged_in(self) -> Client:
        """A client with the token of the log-in.

        Raises:
            NotLoggedIn: nobody is logged in under this profile.
        """
        token = self.credentials.token(self.address, self.profile)
        return self.client(token=need_token(token, self.address, self.profile))

    def show(self, document: Mapping[str, Any], people: Callable[[], None]) -> None:
        """Print the result: the document with `--json`, else what `people` prints."""
        if self.json:
            output.print_json(document)
        else:
            people()

    def _certificate(self) -> Path | None:
        named = self.ca_file or (Path(value) if (value := os.environ.get("STRONGROOM_CA_FILE")) else None)
        if named is not None:
            return named
        own = self.settings.secrets_dir / "tls.crt"
        return own if os.access(own, os.R_OK) else None


def current(context: typer.Context) -> Invocation:
    """The invocation of this run."""
    found = context.find_root().obj
    if not isinstance(found, Invocation):
        raise TypeError(type(found))
    return found
