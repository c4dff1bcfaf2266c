"""Names for shell completion and for "did you mean": of guests, images, jobs, asked of the daemon.

Looking names up is an access like any other: it goes through the gate with the stored log-in, and is recorded once in
five minutes (view `completion`). Invariant: it is quick and silent: whatever goes wrong, there are no names.
"""

from collections.abc import Mapping
from typing import Any, Final

from policies.errors import StrongroomError
from web.cli.failure import CommandFailed
from web.cli.invocation import Invocation

#: Longer nobody waits for a word; the terminal hangs meanwhile.
ANSWER_S: Final = 2.0
_VIEW: Final = "completion"
#: Where the names of each kind are listed, and which of a row's fields names it.
_LISTED: Final[Mapping[str, tuple[str, str]]] = {
    "guest": ("/guests", "name"),
    "image": ("/images", "name"),
    "account": ("/accounts", "name"),
    "key": ("/keys", "id"),
    "job": ("/jobs", "id"),
    "finding": ("/findings", "id"),
    "token": ("/tokens", "id"),
}
KINDS: Final = (*_LISTED, "profile")


def names(invocation: Invocation, kind: str) -> list[str]:
    """The names of this kind that the caller may see; none where they cannot be had."""
    try:
        if kind == "profile":
            return invocation.credentials.profiles(invocation.address)
        address, field = _LISTED[kind]
        invocation.answer_s = ANSWER_S
        with invocation.logged_in() as client:
            items: list[dict[str, Any]] = client.get(address, view=_VIEW)["items"]
        return [name for item in items if isinstance(name := item.get(field), str) and name.isprintable()]
    except (StrongroomError, CommandFailed, OSError, KeyError):
        return []
