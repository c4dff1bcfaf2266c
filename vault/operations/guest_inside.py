"""What is done inside a guest through its agent: run a command, copy a file in or out.

Commands, paths and contents may hold patient or card data: the log gets their SHA-256 and sizes, never the
text.
"""

import base64
import hashlib
from typing import Any

from policies.vocabulary import Action
from vault.entities import guest_ref
from vault.errors import Conflict
from vault.gate import Access, Caller
from vault.guests.agent import MAX_FILE_BYTES
from vault.operations.guest_rows import guest_named
from vault.permit import Permit
from vault.site import Site

DEFAULT_EXEC_TIMEOUT_S = 60.0


def exec_in_guest(
    site: Site,
    caller: Caller,
    name: str,
    argv: list[str],
    stdin: bytes,
    timeout_s: float = DEFAULT_EXEC_TIMEOUT_S,
) -> dict[str, Any]:
    """Run a command inside a running guest.

    Args:
        argv: program with its full path, and its arguments; no shell reads them.
        stdin: what it gets on standard input.

    Returns:
        exit_code, stdout and stderr (base64), truncated.
    """
    guest = guest_named(site, name)
    resource = guest_ref(guest.id)

    def act(permit: Permit) -> dict[str, Any]:
        permit.note(
            argv_sha256=_digest("\0".join(argv).encode()), stdin_sha256=_digest(stdin), stdin_bytes=len(stdin)
        )
        _require_running(site, guest.id, name)
        result = site.host.execute(permit, resource, name, argv, stdin, timeout_s)
        permit.note(
            exit_code=result.exit_code,
            stdout_sha256=_digest(result.stdout),
            stdout_bytes=len(result.stdout),
            stderr_sha256=_digest(result.stderr),
        )
        return {
            "exit_code": result.exit_code,
            "stdout": base64.b64encode(result.stdout).decode(),
            "stderr": base64.b64encode(result.stderr).decode(),
            "truncated": result.truncated,
        }

    return site.gate.run(Access(caller, Action.GUEST_EXEC, resource), act)


def copy_in(
    site: Site, caller: Caller, name: str, path: str, data: bytes, mode: int = 0o600
) -> dict[str, Any]:
    """Write a file inside a running guest; it appears whole or not at all."""
    guest = guest_named(site, name)
    resource = guest_ref(guest.id)
    facts = {"sha256": _digest(data), "size_bytes": len(data)}

    def act(permit: Permit) -> dict[str, Any]:
        permit.note(path_sha256=_digest(path.encode()), **facts)
        _require_running(site, guest.id, name)
        site.host.write_file(permit, resource, name, path, data, mode)
        return facts

    return site.gate.run(Access(caller, Action.GUEST_COPY_IN, resource), act)


def copy_out(site: Site, caller: Caller, name: str, path: str) -> bytes:
    """Read a file inside a running guest."""
    guest = guest_named(site, name)
    resource = guest_ref(guest.id)

    def act(permit: Permit) -> bytes:
        permit.note(path_sha256=_digest(path.encode()))
        _require_running(site, guest.id, name)
        data = site.host.read_file(permit, resource, name, path, MAX_FILE_BYTES)
        permit.note(sha256=_digest(data), size_bytes=len(data))
        return data

    return site.gate.run(Access(caller, Action.GUEST_COPY_OUT, resource), act)


def _require_running(site: Site, guest_id: str, name: str) -> None:
    if not site.host.is_running(guest_id):
        raise Conflict(
            f"The guest {name!r} does not run.", f"Start it with: strongroom guest start {name} --wait"
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
