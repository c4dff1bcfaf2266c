"""The offline verifier: an export, a log's database or a signed report, and a public key; no server, no store.

`verify_export`, `verify_store` and `verify_report` return a report or raise `VerificationFailed`;
`python -m audit.verify` is the same in a process of its own.
"""

from audit.verify.export import verify_export
from audit.verify.pdf_report import is_pdf, verify_report
from audit.verify.report import Check, FirstBad, Report
from audit.verify.store import verify_store
from audit.verify.trust import Trust

__all__ = ["Check", "FirstBad", "Report", "Trust", "is_pdf", "verify_export", "verify_report", "verify_store"]
