"""The offline verifier: what an auditor holds, and a public key; no server, and nothing of the store.

`verify_any` recognises exports, tiles, proofs, checkpoints and signed reports; `verify_store` looks at a log's
database. Each returns a report or raises `VerificationFailed`; `python -m audit.verify` is the same in a process of its
own.
"""

from audit.verify.export import verify_export
from audit.verify.pdf_report import is_pdf, verify_report
from audit.verify.proof import verify_proof
from audit.verify.recognise import verify_any
from audit.verify.report import Check, FirstBad, Report
from audit.verify.store import verify_store
from audit.verify.tiles import verify_tiles
from audit.verify.trust import Trust

__all__ = [
    "Check",
    "FirstBad",
    "Report",
    "Trust",
    "is_pdf",
    "verify_any",
    "verify_export",
    "verify_proof",
    "verify_report",
    "verify_store",
    "verify_tiles",
]
