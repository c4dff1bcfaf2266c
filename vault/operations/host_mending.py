"""What `strongroom doctor --fix` mends. Each can be run again; what is not harmless in every case is asked about first.

It changes the host and no guest, key or account, and runs beside the daemon or without one: hence no permit.
"""

from collections.abc import Callable

from policies.errors import StrongroomError
from vault.config import Settings
from vault.disks.ram_dir import RamDir
from vault.errors import Conflict
from vault.guests.libvirt_connection import LibvirtConnection
from vault.guests.libvirt_secrets import undefine_secrets_of
from vault.model import utc_now
from vault.operations.figures import CERTIFICATE_NOTICE
from vault.operations.host_checks import open_to_others
from vault.tls import certificate_expires_at
from vault.tls import renew_certificate as make_anew

_OTHERS = 0o077


def close_files(settings: Settings) -> list[str]:
    """Take from others the rights to what is ours alone."""
    done = []
    for path in open_to_others(settings):
        path.chmod(path.stat().st_mode & ~_OTHERS)
        done.append(f"Others can no longer read {path}.")
    return done


def remove_leftovers(settings: Settings) -> list[str]:
    """Remove what a killed daemon left. Only while none runs: it could be the daemon's own."""
    done = []
    if settings.memory_dir.is_dir():
        count = RamDir(settings.memory_dir).sweep()
        if count:
            done.append(f"Removed {count} files from {settings.memory_dir}.")
    connection = LibvirtConnection(settings.libvirt_uri)
    try:
        count = undefine_secrets_of(connection.get(), settings.instance)
    except StrongroomError:
        return done  # libvirt does not answer, which its own line says
    finally:
        connection.close()
    if count:
        done.append(f"libvirt forgot {count} keys.")
    return done


def renew_certificate(settings: Settings, agree: Callable[[str], bool]) -> list[str]:
    """Renew the daemon's own certificate when it ends soon, if somebody agrees: copies elsewhere must follow."""
    if not settings.secrets_dir.is_dir():
        return []
    try:
        if certificate_expires_at(settings.secrets_dir) - utc_now() >= CERTIFICATE_NOTICE:
            return []
    except StrongroomError:
        return []  # its own line says why
    question = "Renew the daemon's certificate? Whoever holds a copy of tls.crt elsewhere needs the new one."
    if not agree(question):
        return ["The certificate was not renewed: nobody agreed. Add --yes, or run it on a terminal."]
    try:
        make_anew(settings.secrets_dir, settings.host)
    except Conflict as error:
        return [f"{error.message} {error.hint}"]
    path = settings.secrets_dir / "tls.crt"
    return [
        f"The certificate is renewed. Restart the daemon, and give {path} to whoever holds a copy of the old one."
    ]
