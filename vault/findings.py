"""Findings: what a person must look at. Every check and watch writes to this one list.

A finding is open, then perhaps acknowledged by somebody who knows of it, then closed: by itself, when what it told of
is no more, or by a person with a reason. One whose cause still stands opens again, as a new finding that names the old.
"""

import threading
from collections.abc import Sequence
from enum import StrEnum

from sqlmodel import Session, col, select

from policies.vocabulary import Action, EntityRef, EntityType
from vault.database import Database
from vault.errors import BadInput, Conflict, NotFound
from vault.finding_codes import FINDING_CODES, Severity
from vault.model import Finding, utc_now
from vault.permit import Permit

MAX_WORDS_CHARACTERS = 2000


class FindingState(StrEnum):
    """Where a finding stands."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


def finding_ref(finding_id: str) -> EntityRef:
    """The finding as the policy and the log name it."""
    return EntityRef(EntityType.FINDING, finding_id)


def state_of(finding: Finding) -> FindingState:
    """Where a finding stands."""
    if finding.closed_at is not None:
        return FindingState.CLOSED
    return FindingState.OPEN if finding.acknowledged_at is None else FindingState.ACKNOWLEDGED


def is_closable(finding: Finding) -> bool:
    """Whether a person may close it."""
    known = FINDING_CODES.get(finding.code)
    return finding.closed_at is None and (known is None or known.by_hand)


class Findings:
    """Findings of the site; the same open finding is not opened twice."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Events and accesses find the same thing at the same moment; it is still one finding.
        self._opening = threading.Lock()

    # -- what checks and watches do -----------------------------------------------------------

    def open(
        self, code: str, *, resource: str, sentence: str, remedy: str | None = None, record: str | None = None
    ) -> Finding:
        """Open a finding, or return the one that is already open for this code and resource.

        Args:
            code: one of `FINDING_CODES`, which says how grave it is.
            resource: what it is about, as records write it.
            sentence: what is wrong.
            remedy: what to do; None takes what the code says.
            record: id of the record that shows it.
        """
        known = FINDING_CODES[code]
        with self._opening, self._database.session() as session:
            newest = session.exec(
                select(Finding)
                .where(Finding.code == code, Finding.resource == resource)
                .order_by(col(Finding.created_at).desc())
            ).first()
            if newest is not None and newest.closed_at is None:
                return newest
            finding = Finding(
                code=code,
                severity=known.severity,
                resource=resource,
                sentence=sentence,
                remedy=remedy or known.remedy,
                record=record,
                reopens=newest.id if newest is not None and newest.closed_by is not None else None,
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

    # -- what people do ------------------------------------------------------------------------

    def acknowledge(self, permit: Permit, finding_id: str, note: str) -> Finding:
        """Note that somebody knows of it and what they say; it stays open.

        Raises:
            NotFound: there is none.
            BadInput: the note is empty or too long.
            Conflict: it is closed, or somebody has acknowledged it before.
        """
        permit.require(finding_ref(finding_id), Action.FINDING_ACKNOWLEDGE)
        words = _words(note, "the note")
        with self._database.session() as session:
            finding = _stored(session, finding_id)
            if state_of(finding) is not FindingState.OPEN:
                raise Conflict(
                    f"The finding is {state_of(finding)} already.", "See `strongroom finding show`."
                )
            finding.acknowledged_at = utc_now()
            finding.acknowledged_by = permit.principal.id
            finding.note = words
            return finding

    def close_by_hand(self, permit: Permit, finding_id: str, reason: str) -> Finding:
        """Close a finding for a reason.

        Raises:
            NotFound: there is none.
            BadInput: the reason is empty or too long.
            Conflict: it is closed, or only its check closes it.
        """
        permit.require(finding_ref(finding_id), Action.FINDING_CLOSE)
        words = _words(reason, "the reason")
        with self._database.session() as session:
            finding = _stored(session, finding_id)
            if finding.closed_at is not None:
                raise Conflict("The finding is closed already.", "See `strongroom finding show`.")
            if not is_closable(finding):
                raise Conflict(
                    "This finding closes by itself once what it tells of is mended, and not by hand.",
                    finding.remedy,
                )
            finding.closed_at = utc_now()
            finding.closed_by = permit.principal.id
            finding.reason = words
            return finding

    # -- looking ---------------------------------------------------------------------------------

    def get(self, finding_id: str) -> Finding:
        """The finding with this id.

        Raises:
            NotFound: there is none.
        """
        with self._database.session() as session:
            return _stored(session, finding_id)

    def all_open(self) -> list[Finding]:
        """Findings that are not closed, newest first."""
        return self.search((FindingState.OPEN, FindingState.ACKNOWLEDGED))

    def search(
        self, states: Sequence[FindingState], severities: Sequence[Severity] = (), limit: int | None = None
    ) -> list[Finding]:
        """Findings in these states and of these severities (none given: all), newest first."""
        query = select(Finding).order_by(col(Finding.created_at).desc())
        if FindingState.CLOSED not in states:
            query = query.where(col(Finding.closed_at).is_(None))
        if severities:
            query = query.where(col(Finding.severity).in_(severities))
        with self._database.session() as session:
            found = [finding for finding in session.exec(query) if state_of(finding) in states]
        return found[:limit]


def _stored(session: Session, finding_id: str) -> Finding:
    finding = session.get(Finding, finding_id)
    if finding is None:
        raise NotFound("There is no such finding.", "See `strongroom finding list`.")
    return finding


def _words(untrusted: str, what: str) -> str:
    words = untrusted.strip()
    if not words:
        raise BadInput(f"Say why: {what} is empty.", "One sentence is enough.")
    if len(words) > MAX_WORDS_CHARACTERS:
        raise BadInput(
            f"Here {what} may have {MAX_WORDS_CHARACTERS} characters, not {len(words)}.",
            "Say it in fewer words.",
        )
    if any(ord(character) < ord(" ") and character not in "\n\t" for character in words):
        raise BadInput(f"There are control characters in {what}.", "Write plain text.")
    return words
