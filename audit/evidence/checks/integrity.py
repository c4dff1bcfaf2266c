"""Checks that what is stored was not altered: each disk's header is as the platform left it."""

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.checks.disks import scoped_disks
from audit.evidence.facts import DiskFacts
from audit.evidence.framework import Framework


def _finding(disk: DiskFacts) -> str:
    if disk.error is not None:
        return f"not measured: {disk.error}"
    if disk.known_header_sha256 is None:
        return "not known how it was left"
    return "as it was left" if disk.header_sha256 == disk.known_header_sha256 else "altered"


def _header_unchanged(snapshot: Snapshot) -> CheckResult:
    disks = [(g, d) for g, d in scoped_disks(snapshot) if d.encrypted or d.error is not None]
    unknown = [d for _, d in disks if d.error is None and d.known_header_sha256 is None]
    wrong = [d for _, d in disks if d not in unknown and _finding(d) != "as it was left"]
    query = (
        "SHA-256 of each scoped disk's LUKS header with all key material, against the one it was left with"
    )
    table = Table.of(
        ("guest", "file", "header SHA-256", "finding"),
        ((g.name, d.path, d.header_sha256, _finding(d)) for g, d in disks),
    )
    if unknown and not wrong:
        return not_evaluated(
            f"How the header was left is not known for {len(unknown)} of {len(disks)} disks.",
            unit="disks",
            query=query,
            table=table,
        )
    return judged(
        population=len(disks),
        violations=len(wrong),
        unit="disks",
        query=query,
        holds=f"The header of every disk in scope ({len(disks)}) is byte for byte as the platform left it.",
        fails=f"Disks whose header was altered, or could not be read: {len(wrong)} of {len(disks)}.",
        empty=f"No encrypted disk is labelled {snapshot.framework.scope_label}.",
        table=table,
    )


CHECKS = (
    Check(
        id="disk.header_unchanged",
        version=1,
        title="No disk's header was altered outside the platform",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.312(c)(1)",
                    "LUKS in XTS mode does not authenticate what is on the disk, and no checksum of it is kept",
                ),
                Support("164.312(c)(2)", "records inside guests carry no checksum of this platform"),
            ),
            Framework.PCI: (Support("3.7.7"),),
        },
        evaluate=_header_unchanged,
    ),
)
