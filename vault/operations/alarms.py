"""Errors of the gate that a person must hear of become findings, and go when an access shows that they are mended.

An error's answer reaches only who asked; that the key store is damaged, or that a policy cannot be evaluated, concerns
everybody.
"""

import logging

from audit.log.record import Record
from policies.errors import StrongroomError
from policies.vocabulary import Action
from vault.entities import HOST, KEY_STORE, LOG
from vault.finding_codes import FINDING_CODES
from vault.gate import Trouble
from vault.site import Site

logger = logging.getLogger(__name__)

#: Codes of results that become findings, and what each is about; None: the resource of the access.
_ALARMING = {
    "policy.evaluation_failed": None,
    "keystore.damaged": str(KEY_STORE),
    "key.decryption_failed": None,
    "key.intent_refused": None,
    "host.unprotected": str(HOST),
    "integrity.failure": None,
}
#: What an access that ends well shows to be mended.
_MENDED_BY = {
    Action.KEYSTORE_UNSEAL: ("keystore.damaged",),
    Action.GUEST_START: ("host.unprotected", "integrity.failure", "key.decryption_failed"),
    Action.IMAGE_VERIFY: ("integrity.failure",),
}
#: They open findings of their own, which say more.
_TELL_THEMSELVES = frozenset({Action.LOG_VERIFY, Action.LOG_PROVE, Action.LOG_REPLAY})


def raise_alarms(site: Site) -> None:
    """Open and close findings by what the gate records from now on."""
    site.gate.watch(lambda record, _took_s: _look(site, record))
    site.gate.on_trouble(lambda trouble: _tell(site, trouble))


def _look(site: Site, record: Record) -> None:
    if record.result is None or record.action in _TELL_THEMSELVES:
        return
    code = str(record.result["code"])
    mended = _MENDED_BY.get(Action(record.action), ()) if code == "ok" and record.action in _MENDED_BY else ()
    if code not in _ALARMING and not mended:
        return
    try:
        for found in mended:
            site.findings.close(found, _ALARMING[found] or record.resource)
        if code in _ALARMING and not _is_told_exactly(site, record):
            site.findings.open(
                code,
                resource=_ALARMING[code] or record.resource,
                sentence=f"{FINDING_CODES[code].title} ({record.action}).",
                record=record.intent or record.id,
            )
    except StrongroomError as error:
        _not_opened(error)


def _is_told_exactly(site: Site, record: Record) -> bool:
    """Whether a finding about a part of the same thing, as a guest's disk, says already what is wrong with it."""
    return any(finding.resource.startswith(f"{record.resource}/") for finding in site.findings.all_open())


def _tell(site: Site, trouble: Trouble) -> None:
    since = trouble.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    sentence = (
        f"From {since} on the log could not be written; it can again."
        if trouble.code == "log.unavailable"
        else f"An act of {since} is done, and its outcome is not recorded: the daemon stopped acting."
    )
    try:
        site.findings.open(trouble.code, resource=str(LOG), sentence=sentence, record=trouble.record)
    except StrongroomError as error:
        _not_opened(error)


def _not_opened(error: StrongroomError) -> None:
    # The access that came by is recorded all the same, with its code.
    logger.error("A finding could not be opened or closed: %s", error.message)
