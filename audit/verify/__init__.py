"""The offline verifier: an export, or a log's database, and a public key; no server, and nothing of the store.

`verify_export` and `verify_store` return a report or raise `VerificationFailed`; `python -m audit.verify` is the
same in a process of its own.
"""

from audit.verify.export import verify_export
from audit.verify.report import Check, FirstBad, Report
from audit.verify.store import verify_store
from audit.verify.trust import Trust

__all__ = ["Check", "FirstBad", "Report", "Trust", "verify_export", "verify_store"]
