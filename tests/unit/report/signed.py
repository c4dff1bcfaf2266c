"""A small signed report, made once, and a signer of its own."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from audit.evidence.facts import SignerFacts
from audit.evidence.framework import Framework
from audit.report.signer import ReportSigner, create_signer
from tests.unit.evidence.examples import busy_month, changed, healthy_facts, snapshot
from tests.unit.evidence.written_log import write_log
from tests.unit.report.made import pdf_of


@cache
def signer() -> ReportSigner:
    with TemporaryDirectory() as folder:
        return create_signer(Path(folder), "main on vault-1")


@cache
def unsigned_report() -> bytes:
    """A HIPAA report over a log whose checkpoint really is signed."""
    with TemporaryDirectory() as folder:
        written = write_log(Path(folder), busy_month().events)
    facts = written.facts(healthy_facts())
    told = SignerFacts(subject=signer().subject, certificates=signer().fingerprints, self_issued=True)
    return pdf_of(snapshot(Framework.HIPAA, changed(facts, "system", signer=told)))


@cache
def signed_report() -> bytes:
    return signer().sign(unsigned_report())


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()
