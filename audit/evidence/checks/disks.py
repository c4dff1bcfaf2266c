"""Checks of disks in scope, on what was measured on their files: encryption, keyslots, PCI's fixed media.

A disk is in scope when its guest carries the framework's label and is not deleted. A disk that could not be
measured counts as one that does not hold.
"""

from audit.evidence.check import Check, CheckResult, Sample, Snapshot, Support, Table, judged
from audit.evidence.facts import DiskFacts, GuestFacts
from audit.evidence.framework import Framework
from audit.evidence.verdict import Verdict

DELETED = "deleted"
#: What we accept: AES in XTS mode with two 256-bit halves (NIST SP 800-38E), or with two 128-bit halves.
_APPROVED = frozenset({("aes", "xts-plain64", 512), ("aes", "xts-plain64", 256)})
_APPROVED_HASHES = frozenset({"sha256", "sha384", "sha512"})
#: The control that asks for card numbers to be unreadable, for which a person may attach proof.
_UNREADABLE = "3.5.1"


def scoped_guests(snapshot: Snapshot) -> list[GuestFacts]:
    """Guests in the framework's scope, by id."""
    label = snapshot.framework.scope_label
    found = [g for g in snapshot.facts.guests if label in g.labels and g.state != DELETED]
    return sorted(found, key=lambda guest: guest.id)


def scoped_disks(snapshot: Snapshot) -> list[tuple[GuestFacts, DiskFacts]]:
    """Disks of the guests in scope, by guest and path."""
    return [(g, d) for g in scoped_guests(snapshot) for d in sorted(g.disks, key=lambda disk: disk.path)]


def cipher_of(disk: DiskFacts) -> str:
    """The cipher as people write it, e.g. `aes-xts-plain64, 512-bit key, sha256`."""
    if disk.error is not None:
        return f"not measured: {disk.error}"
    if not disk.encrypted:
        return "not encrypted"
    return f"{disk.cipher}-{disk.mode}, {disk.key_bits}-bit key, {disk.hash}"


def _encrypted_well(disk: DiskFacts) -> bool:
    return (
        disk.error is None
        and disk.encrypted
        and (disk.cipher, disk.mode, disk.key_bits) in _APPROVED
        and disk.hash in _APPROVED_HASHES
    )


def _nothing_in_scope(snapshot: Snapshot) -> str:
    return f"No guest is labelled {snapshot.framework.scope_label}, so no disk is in scope."


def _luks_measured(snapshot: Snapshot) -> CheckResult:
    disks = scoped_disks(snapshot)
    diskless = [g for g in scoped_guests(snapshot) if not g.disks]
    weak = [d for _, d in disks if not _encrypted_well(d)]
    rows: list[tuple[object, ...]] = [
        (
            guest.name,
            disk.path,
            disk.size_bytes,
            cipher_of(disk),
            disk.uuid,
            disk.header_sha256,
            "yes" if _encrypted_well(disk) else "no",
        )
        for guest, disk in disks
    ]
    rows += [(guest.name, None, None, "no disk was measured", None, None, "no") for guest in diskless]
    broken = len(weak) + len(diskless)
    return judged(
        population=len(disks) + len(diskless),
        violations=broken,
        unit="disks",
        query=(
            f"every disk of each guest labelled {snapshot.framework.scope_label}; LUKS header read from the "
            "disk's own file, not from configuration"
        ),
        holds=(
            f"Every disk in scope ({len(disks)}) carries a LUKS header with AES in XTS mode, measured on its file."
        ),
        fails=f"Disks in scope not encrypted as they should be: {broken} of {len(disks) + len(diskless)}.",
        empty=_nothing_in_scope(snapshot),
        table=Table.of(("guest", "file", "bytes", "measured", "LUKS UUID", "header SHA-256", "holds"), rows),
    )


def _keyslots_known(snapshot: Snapshot) -> CheckResult:
    disks = [(g, d) for g, d in scoped_disks(snapshot) if d.encrypted or d.error is not None]
    rows = []
    wrong = 0
    for guest, disk in disks:
        active, known = sorted(disk.active_keyslots), sorted(disk.known_keyslots)
        unknown = sorted(set(active) - set(known))
        problem = disk.error or (
            f"unknown keyslots {unknown}" if unknown else "" if active else "no active keyslot"
        )
        wrong += bool(problem)
        rows.append((guest.name, disk.path, _numbers(active), _numbers(known), problem or "as expected"))
    return judged(
        population=len(disks),
        violations=wrong,
        unit="disks",
        query="active keyslots in each scoped disk's header, against the slots the key store knows",
        holds=f"On every disk in scope ({len(disks)}) each active keyslot is one that the key store made.",
        fails=(
            "Disks with a keyslot that the key store did not make, or without a readable one: "
            f"{wrong} of {len(disks)}."
        ),
        empty=_nothing_in_scope(snapshot),
        table=Table.of(("guest", "file", "active", "known", "finding"), rows),
    )


def _numbers(slots: list[int]) -> str:
    return ", ".join(map(str, slots)) or "none"


def _fixed_media(snapshot: Snapshot) -> CheckResult:
    disks = scoped_disks(snapshot)
    proofs = [p for p in snapshot.facts.proofs if p.control == _UNREADABLE]
    fixed = [(g, d) for g, d in disks if d.fixed]
    wrong = 0 if proofs else len(fixed)
    holds = (
        f"{len(fixed)} fixed disks hold card data, and proof of a second method that makes card numbers "
        "unreadable is attached; an assessor must judge that proof."
        if fixed
        else f"All {len(disks)} disks in scope are removable media."
    )
    return judged(
        population=len(disks),
        violations=wrong,
        unit="disks",
        query="disks of guests labelled chd; fixed or removable; attached proof for 3.5.1",
        holds=holds,
        fails=(
            f"Fixed disks in scope: {len(fixed)}. Disk encryption is the only method that protects "
            "them. The standard accepts disk encryption alone for removable media only, so this "
            "requirement is not in place, however good the encryption is."
        ),
        empty=_nothing_in_scope(snapshot),
        table=Table.of(
            ("guest", "file", "medium", "second method"),
            (
                (g.name, d.path, "fixed" if d.fixed else "removable", "attached" if proofs else "none")
                for g, d in disks
            ),
        ),
    )


def _card_numbers(snapshot: Snapshot) -> CheckResult:
    proofs = sorted((p for p in snapshot.facts.proofs if p.control == _UNREADABLE), key=lambda p: p.sha256)
    reason = (
        f"Proofs from the application layer that are attached: {len(proofs)}. Whether they show it is for an "
        "assessor to judge."
        if proofs
        else "Only the application knows where card numbers are; no proof from it is attached."
    )
    return CheckResult(
        verdict=Verdict.PARTIAL if proofs else Verdict.NOT_EVALUATED,
        reason=reason,
        population=len(proofs),
        unit="attached proofs",
        query="documents attached for 3.5.1",
        sample=Sample(len(proofs)) if proofs else Sample(0, "none"),
        table=Table.of(
            ("description", "SHA-256", "attached by"),
            ((p.description, p.sha256, p.attached_by) for p in proofs),
        ),
    )


CHECKS = (
    Check(
        id="disk.luks_measured",
        version=1,
        title="Every disk in scope is encrypted, measured on its file",
        supports={Framework.HIPAA: (Support("164.312(a)(2)(iv)"),)},
        evaluate=_luks_measured,
    ),
    Check(
        id="disk.keyslots_known",
        version=1,
        title="No disk in scope has a keyslot the key store did not make",
        supports={
            Framework.HIPAA: (Support("164.312(a)(2)(iv)"),),
            Framework.PCI: (Support("3.7.7"),),
        },
        evaluate=_keyslots_known,
    ),
    Check(
        id="disk.fixed_media",
        version=1,
        title="Disk encryption is not the only protection of fixed disks",
        supports={Framework.PCI: (Support("3.5.1.2"),)},
        evaluate=_fixed_media,
    ),
    Check(
        id="disk.card_numbers_unreadable",
        version=1,
        title="Card numbers are unreadable where they are stored",
        supports={Framework.PCI: (Support("3.5.1"),)},
        evaluate=_card_numbers,
    ),
)
