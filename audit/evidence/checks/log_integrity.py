"""Checks of the log as a whole: it verifies, its files are guarded, it is kept, its clock is right."""

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.framework import Framework
from audit.evidence.instant import format_instant
from audit.evidence.log_range import SeqSpan

#: Permission bits that let anyone but the owner read or write.
_GROUP_AND_OTHERS = 0o077
#: The clock may be off by at most this much (our number; PCI names none).
_MAX_OFFSET_US = 1_000_000
_PCI_DAYS = 365
#: Six years of 45 CFR 164.316(b)(2)(i), counting two leap days.
_HIPAA_DAYS = 6 * 365 + 2


def _verifies(snapshot: Snapshot) -> CheckResult:
    log, proof = snapshot.log, snapshot.log.proof
    query = (
        "every record from number 0 to the checkpoint: leaf hash, chain, Merkle root, checkpoint signature"
    )
    if snapshot.facts.log.checkpoint is None:
        return not_evaluated(
            "The snapshot has no checkpoint to verify the log against.", unit="records", query=query
        )
    bad = 0 if proof.holds else 1
    rows = [
        ("records hashed", proof.checked),
        ("checkpoint size", log.size),
        ("checkpoint root", proof.root),
        ("first record that does not hold", proof.first_bad),
        ("finding", proof.detail),
    ]
    return judged(
        population=max(proof.checked, bad),
        violations=bad,
        unit="records",
        query=query,
        holds=f"Every record ({proof.checked:,}) hashes to the signed checkpoint; no number is missing.",
        fails=f"The log does not verify: {proof.detail}",
        empty="The log holds no record.",
        seqs=(SeqSpan(0, proof.checked - 1),) if proof.checked and proof.holds else (),
        table=Table.of(("what", "value"), rows),
    )


def _files_guarded(snapshot: Snapshot) -> CheckResult:
    files = sorted(snapshot.facts.log.files, key=lambda file: file.path)
    loose = [f for f in files if int(f.mode, 8) & _GROUP_AND_OTHERS or f.owner != "root"]
    return judged(
        population=len(files),
        violations=len(loose),
        unit="files",
        query="owner and permission bits of the log's database, its write-ahead files and its signing key",
        holds="Only root can read or write the log's files; people reach the log through the gate alone.",
        fails=f"Files that others than root can read or write: {len(loose)} of {len(files)}.",
        empty="No file of the log was measured.",
        table=Table.of(
            ("file", "mode", "owner", "group"), ((f.path, f.mode, f.owner, f.group) for f in files)
        ),
    )


def _retention(snapshot: Snapshot) -> CheckResult:
    needed = _PCI_DAYS if snapshot.framework is Framework.PCI else _HIPAA_DAYS
    days = snapshot.facts.settings.retention_days
    oldest = snapshot.log.proof.oldest_at
    rows = [
        ("retention setting (days)", days),
        ("needed (days)", needed),
        ("oldest record", oldest),
        ("records at hand", snapshot.log.size),
    ]
    since = f"the oldest record at hand is of {oldest}" if oldest else "no verified record is at hand"
    return judged(
        population=1,
        violations=int(days < needed),
        unit="settings",
        query="the retention setting in force; the oldest record that can be read",
        holds=f"Records are set to be kept {days} days, at least the {needed} needed; {since}.",
        fails=f"Records are set to be kept {days} days, fewer than the {needed} needed; {since}.",
        empty="",
        table=Table.of(("what", "value"), rows),
    )


def _clock(snapshot: Snapshot) -> CheckResult:
    system = snapshot.facts.system
    query = "host clock compared with its time source when the snapshot was taken"
    if system.clock_offset_us is None:
        return not_evaluated(
            "No time source could be asked, so the clock's offset is unknown.", unit="clocks", query=query
        )
    offset_ms = system.clock_offset_us / 1000
    return judged(
        population=1,
        violations=int(abs(system.clock_offset_us) > _MAX_OFFSET_US),
        unit="clocks",
        query=query,
        holds=f"The clock was off by {offset_ms:.3f} ms, within our limit of one second.",
        fails=f"The clock was off by {offset_ms:.3f} ms, more than our limit of one second.",
        empty="",
        table=Table.of(
            ("time source", "offset (ms)", "measured at"),
            [(system.clock_source, f"{offset_ms:.3f}", format_instant(system.extracted_at))],
        ),
    )


CHECKS = (
    Check(
        id="log.verifies",
        version=1,
        title="The log verifies against its signed checkpoint",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.312(b)", "a heartbeat that would show the log being silent is not evaluated yet"
                ),
                Support("164.312(c)(2)", "records inside guests carry no checksum of this platform"),
            ),
            Framework.PCI: (
                Support("10.3.2"),
                Support("10.3.4", "the alert that follows a failed verification is not examined"),
            ),
        },
        evaluate=_verifies,
    ),
    Check(
        id="log.files_guarded",
        version=1,
        title="Only root can read or write the log's files",
        supports={
            Framework.HIPAA: (Support("164.312(b)", "a heartbeat is not evaluated yet"),),
            Framework.PCI: (
                Support("10.3.1"),
                Support("10.3.2"),
            ),
        },
        evaluate=_files_guarded,
    ),
    Check(
        id="log.retention",
        version=1,
        title="Records are kept long enough",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.316(b)(2)(i)",
                    "the six years cover required documents; keeping raw logs as long is our policy, and "
                    "how long other documents are kept is not visible here",
                ),
            ),
            Framework.PCI: (
                Support(
                    "10.5.1",
                    "a timed query of the last three months and logs of other systems are not examined",
                ),
            ),
        },
        evaluate=_retention,
    ),
    Check(
        id="time.offset",
        version=1,
        title="The host's clock is right",
        supports={
            Framework.PCI: (
                Support("10.6.1", "the clocks of systems outside this host are not visible here"),
            ),
        },
        evaluate=_clock,
    ),
)
