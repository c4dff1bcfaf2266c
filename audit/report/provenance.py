"""The end of a report: how its data came to be, how to verify it, and lines to sign on."""

from audit.evidence.check import Snapshot
from audit.evidence.evaluate import Evaluation, catalogue_digest
from audit.evidence.instant import format_instant
from audit.report.front import period_words
from audit.report.model import (
    Bullets,
    Code,
    Column,
    Grid,
    Pairs,
    Section,
    SignatureLines,
    Text,
    cells,
)


def provenance(evaluation: Evaluation, snapshot: Snapshot, evaluation_sha256: str) -> Section:
    """Information produced by the entity: what an auditor needs to test it for completeness and accuracy."""
    facts, log = snapshot.facts, snapshot.log
    offset = facts.system.clock_offset_us
    clock = "not known: no time source could be asked"
    if offset is not None:
        clock = f"{offset:,} µs against {facts.system.clock_source or 'an unnamed source'}"
    reconciled = (
        f"{log.count:,} rows = last {log.end - 1:,} - first {log.first:,} + 1"
        if log.count
        else "no record lies in the period"
    )
    return Section(
        anchor="provenance",
        title="Information produced by the entity",
        new_page=True,
        blocks=(
            Text(
                "What an auditor needs to judge whether this report is complete and accurate: where every "
                "figure came from, by which program, at which instant."
            ),
        ),
        sections=(
            Section(
                "provenance-system",
                "System and extraction",
                (
                    Pairs(
                        (
                            ("System", f"{facts.system.name}, instance {facts.system.instance}"),
                            ("Host", f"{facts.system.host}, kernel {facts.system.kernel}"),
                            (
                                "Hypervisor",
                                f"libvirt {facts.system.libvirt_version}, QEMU {facts.system.qemu_version}",
                            ),
                            ("Software", f"Strongroom {facts.system.software_version}"),
                            ("Requested by", facts.system.generated_by),
                            ("Facts extracted at", format_instant(facts.system.extracted_at)),
                            ("Clock offset", clock),
                            ("Period", period_words(evaluation)),
                            (
                                "Query",
                                (
                                    f"records with {evaluation.period.first} <= at < "
                                    f"{evaluation.period.last_excluded}, as one unbroken run of record "
                                    "numbers; each evidence item states its own query"
                                ),
                            ),
                        )
                    ),
                ),
            ),
            Section(
                "provenance-log",
                "Log",
                (
                    Pairs(
                        (
                            ("Origin", facts.log.origin),
                            ("Records covered", f"{log.size:,}, numbered 0 to {max(log.size - 1, 0):,}"),
                            ("Records in period", reconciled),
                            ("Dated outside", f"{log.proof.outside_period:,} of these, by their own clock"),
                            (
                                "Dated backwards",
                                f"{log.proof.steps_back:,} covered records, each older than one before it",
                            ),
                            ("Verification", log.proof.detail),
                        )
                    ),
                    Pairs(
                        (
                            ("Root of the tree", log.proof.root or "none"),
                            ("Verifier key", facts.log.vkey),
                            ("Policy in force", facts.policy.bundle),
                        ),
                        code=True,
                    ),
                    Text("The signed checkpoint that fixes what this report covers:"),
                    Code(tuple((facts.log.checkpoint or "There is no checkpoint.").rstrip("\n").split("\n"))),
                ),
            ),
            Section(
                "provenance-digests",
                "Digests (SHA-256)",
                (
                    Pairs(
                        (
                            ("snapshot.json", evaluation.snapshot_sha256),
                            ("evaluation.json", evaluation_sha256),
                            (f"catalogue {evaluation.catalogue.id}", catalogue_digest(evaluation.catalogue)),
                        ),
                        code=True,
                    ),
                    Text(
                        f"Catalogue: {evaluation.catalogue.title}, {evaluation.catalogue.edition}, as known "
                        f"on {evaluation.catalogue.as_of.isoformat()}. {evaluation.catalogue.statement}",
                        size="small",
                    ),
                ),
            ),
            Section("provenance-checks", "Checks that ran", (_versions(evaluation),)),
        ),
    )


def _versions(evaluation: Evaluation) -> Grid:
    rows = tuple(
        cells(
            item.number,
            item.check,
            item.version,
            f"{item.result.unit}: {item.result.population:,}",
            item.sha256,
        )
        for item in evaluation.items
    )
    columns = (
        Column("Evidence", 11),
        Column("Check", 26, "code"),
        Column("Version", 8, "number"),
        Column("Population", 20),
        Column("Digest of the item", 35, "code"),
    )
    return Grid(columns, rows, len(rows))


def verification(evaluation: Evaluation) -> Section:
    """How to check this report without trusting who made it."""
    period = evaluation.period
    command = (
        f"python -m audit.report.make --snapshot snapshot.json --log LOG.db "
        f"--framework {evaluation.framework.value}"
    )
    return Section(
        anchor="verify",
        title="How to verify this report",
        blocks=(
            Text(
                "Nothing here needs the machine that made the report, except the log, which its owner "
                "exports to you."
            ),
            Bullets(
                (
                    (
                        "Take the attached files out of the PDF and compare their SHA-256 with the digests "
                        "on the page before."
                    ),
                    (
                        "Have the log exported. Verify it offline with the verifier key that you were given "
                        "once, not with the one printed here: it must hold and end at, or go beyond, the "
                        "checkpoint printed here."
                    ),
                    (
                        "Make the report again from the attached snapshot and the log: every file comes out "
                        "byte for byte the same."
                    ),
                    (
                        "Pick records of your own by number, and compare them with the rows of the evidence "
                        "items."
                    ),
                )
            ),
            Code(
                (
                    "pdfdetach -saveall REPORT.pdf",
                    "sha256sum snapshot.json evaluation.json",
                    "strongroom verify LOG-EXPORT --trust trust.json",
                    f"{command} \\",
                    f"    --from {period.first} \\",
                    f"    --to {period.last_excluded} --out AGAIN",
                )
            ),
        ),
    )


def sign_offs() -> Section:
    """Lines for the people who answer for the report."""
    return Section(
        anchor="sign-offs",
        title="Sign-offs",
        blocks=(
            Text(
                "By signing, a person says that they read this report; it does not change any verdict in it."
            ),
            SignatureLines(("Prepared by", "Compliance officer", "System owner", "Auditor or assessor")),
        ),
    )
