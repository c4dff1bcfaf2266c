"""Measures a disk's keyslots before start and after stop; what nobody here made becomes a finding."""

from pathlib import Path

from policies.vocabulary import EntityRef
from vault.disks.measure import KeyslotProblem, compare_keyslots, measure_disk
from vault.errors import VaultError
from vault.model import Disk
from vault.permit import Permit
from vault.site import Site

#: A disk that cannot be measured: missing, a link, or with a header that is not sound.
_UNREADABLE = "disk.unreadable"


def check_keyslots(site: Site, permit: Permit, guest: EntityRef, disk: Disk) -> None:
    """Compare a disk with what the gate made, note it in the record, open or close the finding.

    A keyslot that nobody here made means that somebody had the disk's master key already; refusing the
    guest's start would protect nothing and stop the clinic, so it is a critical finding and not a refusal.
    A disk that is not encrypted at all, or cannot be measured, is refused by the start itself; a stop that
    was done stays done, and is settled after a kill, whatever its disks look like.
    """
    resource = f"{guest}/{disk.role}"
    told: dict[str, str] = {}
    try:
        measured = measure_disk(Path(disk.path))
    except VaultError as error:
        told[_UNREADABLE] = error.message
    else:
        for finding in compare_keyslots(measured, disk.known_keyslots, disk.header_sha256):
            told.setdefault(finding.problem, finding.sentence)
    for code in (*KeyslotProblem, _UNREADABLE):
        if code not in told:
            site.findings.close(code, resource)
            continue
        permit.note(**{f"{disk.role}_{code.partition('.')[2]}": True})
        site.findings.open(
            code,
            resource=resource,
            sentence=told[code],
            record=permit.intent,
        )
