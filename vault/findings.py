"""Findings: what a person must look at. Every check and watch writes to this one list."""

import threading

from sqlmodel import col, select

from vault.database import Database
from vault.model import Finding, utc_now


class Findings:
    """Open and closed findings; the same open finding is not opened twice."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Events and accesses find the same thing at the same moment; it is still one finding.
        self._opening = threading.Lock()

    def open(
        self,
        code: str,
        *,
        severity: str,
        resource: str,
        sentence: str,
        remedy: str,
        record: str | None = None,
    ) -> Finding:
        """Open a finding, or return the one that is already open for this code and resource."""
        with self._opening, self._database.session() as session:
            known = session.exec(
                select(Finding).where(
                    Finding.code == code, Finding.resource == resource, col(Finding.closed_at).is_(None)
                )
            ).first()
            if known is not None:
                return known
            finding = Finding(
                code=code,
                severity=severity,
                resource=resource,
                sentence=sentence,
                remedy=remedy,
                record=record,
            )
            session.add(finding)
            return finding

    def close(self, code: str, resource: str) -> None:
        """Close the finding, when what it told of is no more."""
        with self._database.session() as session:
            for finding in session.exec(
                select(Finding).where(
                    Finding.code == code, Finding.resource == resource, col(Finding.closed_at).is_(None)
                )
            ):
                finding.closed_at = utc_now()

    def all_open(self) -> list[Finding]:
        """Open findings, newest first."""
        with self._database.session() as session:
            return list(
                session.exec(
                    select(Finding)
                    .where(col(Finding.closed_at).is_(None))
                    .order_by(col(Finding.created_at).desc())
                )
            )
