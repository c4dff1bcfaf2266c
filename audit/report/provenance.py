"""The end of a report: how its data came to be, how to verify it, and lines to sign on."""

from audit.evidence.check import Snapshot
from audit.evidence.evaluate import Evaluation, catalogue_digest
from audit.evidence.instant import format_instant
from audit.report.attachment import Attachment
from audit.report.front import period_words
from audit.report.model import (
    Block,
    Bullets,
    Callout,
    Code,
    Column,
    Grid,
    Pairs,
    Section,
    SignatureLines,
    Text,
    Tone,
    cells,
)


def provenance(evaluation: Evaluation, snapshot: Snapshot, carried: tuple[Attachment, ...]) -> Section:
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
                "Attached files",
                (
                    Text(
                        f"{len(carried)} files lie inside the PDF, and the manifest that lists them; the tables "
                        "lie beside it too. SHA-256 of each as it comes out of the PDF:"
                    ),
                    _files(carried),
                    Pairs(
                        ((f"catalogue {evaluation.catalogue.id}", catalogue_digest(evaluation.catalogue)),),
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


def _files(carried: tuple[Attachment, ...]) -> Grid:
    rows = tuple(cells(each.name, each.description, f"{each.size_bytes:,}", each.sha256) for each in carried)
    columns = (
        Column("File", 21, "code"),
        Column("Content", 15),
        Column("Bytes", 8, "number"),
        Column("SHA-256", 56, "code"),
    )
    return Grid(columns, rows, len(rows))


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


def verification(evaluation: Evaluation, snapshot: Snapshot) -> Section:
    """How to check this report without trusting who made it."""
    period, signer = evaluation.period, snapshot.facts.system.signer
    command = (
        f"python -m audit.report.make --snapshot snapshot.json --log LOG.db "
        f"--framework {evaluation.framework.value}"
    )
    named = signer.certificates[-1] if signer else "FINGERPRINT"
    return Section(
        anchor="verify",
        title="How to verify this report",
        blocks=(
            Text(
                "Nothing here needs the machine that made the report, except the log, which its owner "
                "exports to you."
            ),
            *_signature(snapshot),
            Bullets(
                (
                    (
                        "Verify the PDF: the signature must cover every byte, be by the certificate whose "
                        "fingerprint you were given once (not the one printed here), and every attached file "
                        "must be the one that the manifest lists. Any PDF reader shows the signature as well."
                    ),
                    (
                        "Have the log exported. Verify it offline with the verifier key that you were given "
                        "once, not with the one printed here: it must hold and end at, or go beyond, the "
                        "checkpoint printed here."
                    ),
                    (
                        "Make the report again from the attached snapshot and the log, with the same version of the "
                        "program: the PDF comes out byte for byte as it was before it was signed. The first "
                        "command tells the length and SHA-256 of those bytes."
                    ),
                    (
                        "Pick records of your own by number, and compare them with the rows of the evidence "
                        "items."
                    ),
                )
            ),
            Code(
                (
                    f"strongroom verify REPORT.pdf --fingerprint {named}",
                    "strongroom verify LOG-EXPORT --trust trust.json",
                    "pdfdetach -saveall REPORT.pdf",
                    f"{command} \\",
                    f"    --from {period.first} \\",
                    f"    --to {period.last_excluded} --out AGAIN",
                    "sha256sum AGAIN/*.pdf",
                )
            ),
        ),
    )


def _signature(snapshot: Snapshot) -> tuple[Block, ...]:
    signer = snapshot.facts.system.signer
    if signer is None:
        return (
            Callout(
                Tone.WARNING,
                "This report is not signed",
                "No signer was named when the facts were taken. What is printed here can be compared, but not "
                "told from what somebody else has written.",
            ),
        )
    issued = (
        "The certificate is self-issued by this site: nobody else vouches for whom it names."
        if signer.self_issued
        else "The certificate was issued by the authority named below."
    )
    return (
        Callout(
            Tone.NOTE,
            "Who signs the PDF, and what that shows",
            f"PAdES baseline B-B. {issued} The time in the signature is this host's own; no timestamp authority "
            "is configured, so nobody else vouches for it, and it is not B-T, B-LT or B-LTA.",
        ),
        Pairs(
            (
                ("Signer", signer.subject),
                ("Certificate", signer.certificates[0]),
                ("Issued by", signer.certificates[-1]),
            ),
            code=True,
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
