"""Checks of settings that a control puts a number on: idle log-off, passwords, how they are protected."""

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.framework import Framework

_MAX_IDLE_S = 15 * 60
_MIN_LENGTH = 12
_MIN_HISTORY = 4
_GOOD_TLS = frozenset({"TLSv1.2", "TLSv1.3"})
#: The name of an algorithm (RFC 9106).
_HASH = "argon2id"
_COLUMNS = ("setting", "in force", "needed")


def _idle_logoff(snapshot: Snapshot) -> CheckResult:
    idle_s = snapshot.facts.settings.idle_timeout_s
    holds = 0 < idle_s <= _MAX_IDLE_S
    return judged(
        population=1,
        violations=int(not holds),
        unit="settings",
        query="the idle time after which a session ends",
        holds=f"A session ends after {idle_s // 60} minutes without use, at most the 15 allowed.",
        fails=(
            f"A session may lie idle for {idle_s} seconds; at most {_MAX_IDLE_S} are allowed, and 0 means "
            "never."
        ),
        empty="",
        table=Table.of(_COLUMNS, [("idle time (s)", idle_s, f"1 to {_MAX_IDLE_S}")]),
    )


def _password_composition(snapshot: Snapshot) -> CheckResult:
    settings = snapshot.facts.settings
    query = "the rules a new password must meet"
    if settings.password_letters_and_digits is None:
        return not_evaluated(
            "Whether letters and digits are demanded was not reported.", unit="settings", query=query
        )
    rows = [
        ("length", settings.password_min_length, f"at least {_MIN_LENGTH}"),
        ("letters and digits", "yes" if settings.password_letters_and_digits else "no", "yes"),
    ]
    broken = int(settings.password_min_length < _MIN_LENGTH) + int(not settings.password_letters_and_digits)
    return judged(
        population=len(rows),
        violations=broken,
        unit="settings",
        query=query,
        holds=f"A password has at least {settings.password_min_length} characters, with letters and digits.",
        fails=f"Rules for new passwords that are weaker than needed: {broken} of {len(rows)}.",
        empty="",
        table=Table.of(_COLUMNS, rows),
    )


def _password_history(snapshot: Snapshot) -> CheckResult:
    barred = snapshot.facts.settings.password_history
    query = "how many former passwords may not be used again"
    if barred is None:
        return not_evaluated(
            "How many former passwords are barred was not reported.", unit="settings", query=query
        )
    return judged(
        population=1,
        violations=int(barred < _MIN_HISTORY),
        unit="settings",
        query=query,
        holds=f"The last {barred} passwords of an account are barred.",
        fails=f"Only the last {barred} passwords are barred; {_MIN_HISTORY} are needed.",
        empty="",
        table=Table.of(_COLUMNS, [("former passwords barred", barred, f"at least {_MIN_HISTORY}")]),
    )


def _factors_protected(snapshot: Snapshot) -> CheckResult:
    settings, transport = snapshot.facts.settings, snapshot.facts.transport
    query = "how passwords are stored, and the lowest TLS version a handshake with the daemon could reach"
    if settings.password_hash is None or transport.min_version is None:
        return not_evaluated(
            "How passwords are stored or carried could not be measured.", unit="protections", query=query
        )
    rows = [
        ("stored as", settings.password_hash, _HASH),
        ("carried over", transport.min_version, "TLSv1.2 or later"),
    ]
    broken = int(settings.password_hash.lower() != _HASH) + int(transport.min_version not in _GOOD_TLS)
    return judged(
        population=len(rows),
        violations=broken,
        unit="protections",
        query=query,
        holds=f"Passwords are kept as Argon2id hashes and travel only over {transport.min_version} or later.",
        fails=f"Protections of passwords that are weaker than needed: {broken} of {len(rows)}.",
        empty="",
        table=Table.of(_COLUMNS, rows),
    )


def _transport_encrypted(snapshot: Snapshot) -> CheckResult:
    transport = snapshot.facts.transport
    query = (
        "handshakes with the running daemon, lowest version first; a plain request to each of its addresses"
    )
    if transport.min_version is None or transport.plaintext_listeners is None:
        return not_evaluated("The running daemon could not be measured.", unit="listeners", query=query)
    plain = transport.plaintext_listeners
    old = int(transport.min_version not in _GOOD_TLS)
    rows = [
        ("lowest TLS version accepted", transport.min_version, "TLSv1.2 or later"),
        ("cipher agreed", transport.cipher, "authenticated encryption"),
        ("listeners without TLS", ", ".join(sorted(plain)) or "none", "none"),
    ]
    return judged(
        population=1 + len(plain),
        violations=old + len(plain),
        unit="listeners",
        query=query,
        holds=f"The daemon answers only over {transport.min_version} or later; it has no plaintext listener.",
        fails=f"Ways in that are not encrypted well enough: {old + len(plain)}; see the rows.",
        empty="",
        table=Table.of(_COLUMNS, rows),
    )


_CHANGES = "that each change of a password is in the log is not reconciled yet"
_INSIDE_GUESTS = "connections that guests make themselves are not visible here"

CHECKS = (
    Check(
        id="session.idle_logoff",
        version=1,
        title="An idle session ends",
        supports={Framework.HIPAA: (Support("164.312(a)(2)(iii)"),), Framework.PCI: (Support("8.2.8"),)},
        evaluate=_idle_logoff,
    ),
    Check(
        id="password.composition",
        version=1,
        title="Passwords are long and mixed",
        supports={
            Framework.HIPAA: (Support("164.308(a)(5)(ii)(D)", _CHANGES),),
            Framework.PCI: (
                Support("8.3.6", "under which rules each stored password was accepted is not kept"),
            ),
        },
        evaluate=_password_composition,
    ),
    Check(
        id="password.history",
        version=1,
        title="Former passwords are barred",
        supports={Framework.PCI: (Support("8.3.7"),)},
        evaluate=_password_history,
    ),
    Check(
        id="password.protected",
        version=1,
        title="Passwords are protected where they lie and where they travel",
        supports={
            Framework.HIPAA: (Support("164.308(a)(5)(ii)(D)", _CHANGES),),
            Framework.PCI: (Support("8.3.2", "authentication inside guests is not examined"),),
        },
        evaluate=_factors_protected,
    ),
    Check(
        id="transport.encrypted",
        version=1,
        title="The platform is reached over TLS 1.2 or later only",
        supports={
            Framework.HIPAA: (
                Support("164.312(e)(1)", _INSIDE_GUESTS),
                Support("164.312(e)(2)(i)", _INSIDE_GUESTS),
                Support("164.312(e)(2)(ii)", _INSIDE_GUESTS),
            ),
            Framework.PCI: (Support("2.2.7", "administration inside guests is not examined"),),
        },
        evaluate=_transport_encrypted,
    ),
)
