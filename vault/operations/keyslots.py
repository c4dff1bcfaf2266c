"""Measures a disk's keyslots before start and after stop; what nobody here made becomes a finding."""

from pathlib import Path

from policies.vocabulary import EntityRef
from vault.disks.measure import compare_keyslots, measure_disk
from vault.model import Disk
from vault.permit import Permit
from vault.site import Site


def check_keyslots(site: Site, permit: Permit, guest: EntityRef, disk: Disk) -> None:
    """Compare a disk with what the gate made, note it in the record, open or close the finding.

    A keyslot that nobody here made means that somebody had the disk's master key already; refusing the
    guest's start would protect nothing and stop the clinic, so it is a critical finding and not a refusal.
    A disk that is not encrypted at all is refused by the start itself.
    """
    findings = compare_keyslots(measure_disk(Path(disk.path)), disk.known_keyslots, disk.header_sha256)
    resource = f"{guest}/{disk.role}"
    for code in ("disk.keyslot_unknown", "disk.keyslot_lost", "disk.header_changed", "disk.not_encrypted"):
        told = [finding for finding in findings if finding.problem == code]
        if not told:
            site.findings.close(code, resource)
            continue
        permit.note(**{f"{disk.role}_{code.partition('.')[2]}": True})
        site.findings.open(
            code,
            severity="critical",
            resource=resource,
            sentence=told[0].sentence,
            remedy="Find out who changed the disk outside Strongroom; move the data to a new guest with a new key.",
            record=permit.intent,
        )
