"""Disk keys in libvirt's hands: defined for the length of one call, and taken back if a daemon died in it.

A secret is ephemeral (only in libvirt's memory), private (libvirt does not give its value out again), and
has a fresh random id, which nobody can name beforehand (decision record 5).
"""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

import libvirt

from vault.errors import HostFailure
from vault.guests.live_domain import read_mark
from vault.keystore.secret import DiskPassphrase

logger = logging.getLogger(__name__)

_OWNER = "strongroom"


@contextlib.contextmanager
def defined_secrets(
    connection: "libvirt.virConnect", instance: str, run: str, passphrases: Mapping[str, DiskPassphrase]
) -> Iterator[Mapping[str, str]]:
    """Define a secret for each disk, for this block only.

    Args:
        connection: an open connection.
        instance: the instance whose secret it is.
        run: the run of the daemon that defines it.
        passphrases: by the disks' target names.

    Yields:
        the secrets' UUIDs by target name.

    Raises:
        HostFailure: a secret could not be undefined; it is gone when libvirt is restarted.
    """
    defined: list[libvirt.virSecret] = []
    try:
        uuids = {target: str(uuid.uuid4()) for target in passphrases}
        for target, passphrase in passphrases.items():
            secret = connection.secretDefineXML(_secret_xml(uuids[target], instance, run))
            defined.append(secret)
            secret.setValue(passphrase.reveal())
        yield uuids
    finally:
        stuck = [secret for secret in defined if not _undefine(secret)]
        if stuck:
            raise HostFailure(
                "libvirt did not forget a disk's key.",
                "Restart libvirt's daemon: it keeps such keys in memory only.",
            )


def undefine_secrets_of(connection: "libvirt.virConnect", instance: str, run: str | None = None) -> int:
    """Undefine every secret that an instance left defined; returns how many.

    Args:
        connection: an open connection.
        instance: whose secrets.
        run: only those of this run of the daemon; None for all.
    """
    count = 0
    for secret in connection.listAllSecrets():
        if _is_of(secret, instance, run) and _undefine(secret):
            count += 1
    return count


def count_secrets_of(connection: "libvirt.virConnect", instance: str) -> int:
    """How many secrets of an instance are defined now."""
    return sum(1 for secret in connection.listAllSecrets() if _is_of(secret, instance, None))


def destroy_half_starts_of(connection: "libvirt.virConnect", instance: str, run: str | None = None) -> int:
    """Destroy the instance's domains that were made and never let run; returns how many."""
    count = 0
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            mark = read_mark(domain.XMLDesc())
            ours = mark is not None and mark.instance == instance and run in {None, mark.run}
            if ours and is_half_start(domain):
                domain.destroy()
                count += 1
        except libvirt.libvirtError as error:
            if error.get_error_code() not in {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID}:
                raise
    return count


def is_half_start(domain: "libvirt.virDomain") -> bool:
    """Whether a domain of ours was made and never let run.

    The mark says `starting` until just after the guest was let run; a guest that is paused later, such as
    by a full disk, has lost that word by then.
    """
    mark = read_mark(domain.XMLDesc())
    return mark is not None and mark.starting and domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED


def _secret_xml(secret_id: str, instance: str, run: str) -> str:
    secret = ET.Element("secret", ephemeral="yes", private="yes")
    ET.SubElement(secret, "uuid").text = secret_id
    ET.SubElement(secret, "description").text = f"{_OWNER} {instance} {run}"
    return ET.tostring(secret, encoding="unicode")


def _is_of(secret: "libvirt.virSecret", instance: str, run: str | None) -> bool:
    try:
        described = ET.fromstring(secret.XMLDesc()).findtext("description") or ""  # noqa: S314 - libvirt's own
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return False  # undefined by somebody else meanwhile
        raise
    owner, _, rest = described.partition(" ")
    of_instance, _, of_run = rest.partition(" ")
    return owner == _OWNER and of_instance == instance and run in {None, of_run}


def _undefine(secret: "libvirt.virSecret") -> bool:
    try:
        secret.undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return True
        logger.warning("A disk's key could not be undefined: %s", error)
        # A libvirt that went away has forgotten it: an ephemeral secret is never written down.
        return not secret.connect().isAlive()
    return True
