"""Checks of who acted: unique principals, authenticated sessions, least privilege, disabled accounts."""

from audit.evidence.check import Check, Reading, Snapshot, Support, Table, judged
from audit.evidence.framework import Framework
from audit.evidence.log_range import Event, spans

_ACCOUNT = "account:"
_HOST_USER = "os:"
#: Channels on which a person or service must have proved who they are.
_REMOTE_CHANNELS = frozenset({"cli", "web", "api"})
#: What a role that only reads may be allowed to do.
_READING = (".list", ".show", ".verify", ".export", ".download", ".check", ".inspect")
_OWN_AFFAIRS = frozenset(
    {"session.login", "session.end", "account.password", "report.create", "log.checkpoint"}
)
_READING_ROLES = frozenset({"auditor"})


def _unique_principals(snapshot: Snapshot) -> Reading:
    ids = [account.id for account in snapshot.facts.accounts]
    known = set(ids)
    repeated = sorted({account_id for account_id in ids if ids.count(account_id) > 1})
    wrong: list[tuple[object, ...]] = [
        ("accounts", None, account_id, "two accounts share this id") for account_id in repeated
    ]
    seen: set[str] = set()
    while (event := (yield)) is not None:
        seen.add(event.principal)
        if event.action == "session.login" and event.kind != "access":
            continue  # before a log-in succeeds the caller is only a claim
        if not event.principal or not event.principal.startswith((_ACCOUNT, _HOST_USER)):
            wrong.append((event.seq, event.at, event.principal, "no account and no host user"))
        elif event.principal.startswith(_ACCOUNT) and event.principal.removeprefix(_ACCOUNT) not in known:
            wrong.append((event.seq, event.at, event.principal, "an account the site does not know"))
    population = len(ids) + snapshot.log.count
    return judged(
        population=population,
        violations=len(wrong),
        unit="accounts and records",
        query="all accounts; principal of every record of the period; rows list only what does not hold",
        holds=(
            "Every account has an id of its own, and every record names one of them or a host user. Accounts: "
            f"{len(known)}; principals that acted: {len(seen)}."
        ),
        fails=f"Ids or records that do not lead to one known principal: {len(wrong)}.",
        empty="There is neither an account nor a record.",
        seqs=snapshot.log.span,
        table=Table.of(("record", "time (UTC)", "principal", "what is wrong"), wrong),
    )


def _sessions_authenticated(_snapshot: Snapshot) -> Reading:
    tested: list[int] = []
    wrong: list[Event] = []
    while (event := (yield)) is not None:
        if event.channel not in _REMOTE_CHANNELS or event.action == "session.login":
            continue
        tested.append(event.seq)
        if event.session is None or not event.principal.startswith(_ACCOUNT):
            wrong.append(event)
    return judged(
        population=len(tested),
        violations=len(wrong),
        unit="records",
        query=(
            f"records with channel {', '.join(sorted(_REMOTE_CHANNELS))} other than the log-in itself; rows "
            "list those without a session"
        ),
        holds=f"Every record that came from outside ({len(tested):,}) belongs to a session of one account.",
        fails=f"Records that came from outside without a session: {len(wrong)} of {len(tested)}.",
        empty="Nobody used the platform from outside in the period.",
        seqs=spans(tested),
        table=Table.of(
            ("record", "time (UTC)", "channel", "principal", "action"),
            ((e.seq, e.at, e.channel, e.principal, e.action) for e in wrong),
        ),
    )


def _readers_only_read(snapshot: Snapshot) -> Reading:
    readers = {
        f"{_ACCOUNT}{a.id}" for a in snapshot.facts.accounts if a.roles and set(a.roles) <= _READING_ROLES
    }
    tested: list[Event] = []
    wrong: list[Event] = []
    while (event := (yield)) is not None:
        if event.principal not in readers or event.kind not in {"intent", "access", "denied", "pending"}:
            continue
        tested.append(event)
        allowed = event.kind in {"intent", "access"}
        if allowed and not event.action.endswith(_READING) and event.action not in _OWN_AFFAIRS:
            wrong.append(event)
    refused = [event for event in tested if event.kind in {"denied", "pending"}]
    return judged(
        population=len(tested),
        violations=len(wrong),
        unit="requests",
        query=(
            "requests of accounts whose only role is auditor; rows list refusals and what should have been "
            "refused"
        ),
        holds=(
            f"No request by an auditor was allowed an effect. Requests: {len(tested)}; refused: {len(refused)}."
        ),
        fails=f"Requests by auditors that were allowed an effect: {len(wrong)} of {len(tested)}.",
        empty="No account that may only read made a request in the period.",
        seqs=spans(e.seq for e in tested),
        table=Table.of(
            ("record", "time (UTC)", "principal", "action", "resource", "answer", "decided by"),
            (
                (e.seq, e.at, e.principal, e.action, e.resource, e.decision or e.kind, ", ".join(e.policies))
                for e in sorted(refused + wrong, key=lambda event: event.seq)
            ),
        ),
    )


def _disabled_stay_out(snapshot: Snapshot) -> Reading:
    disabled_at: dict[str, int] = {}
    wrong: list[Event] = []
    in_period: list[int] = []
    waiting: dict[str, Event] = {}
    while (event := (yield)) is not None:
        inside = snapshot.log.holds(event.seq)
        if event.action == "account.disable" and event.kind == "intent":
            waiting[event.id] = event
        elif event.action == "account.disable" and event.intent in waiting:
            del waiting[event.intent]
            if event.code == "ok":
                disabled_at.setdefault(event.resource, event.seq)
                if inside:
                    in_period.append(event.seq)
        elif inside and event.principal in disabled_at:
            got_in = event.action == "session.login" and event.kind == "outcome" and event.code == "ok"
            if got_in or (event.decision == "allow" and event.action != "session.login"):
                wrong.append(event)
    return judged(
        population=len(disabled_at),
        violations=len(wrong),
        unit="disabled accounts",
        query="accounts disabled up to the end of the period; what they were allowed in it afterwards (rows)",
        holds=(
            f"No disabled account was let in any more. Accounts disabled so far: {len(disabled_at)}, in the "
            f"period: {len(in_period)}."
        ),
        fails=f"Accesses allowed to accounts that had been disabled: {len(wrong)}.",
        empty="No account had been disabled.",
        seqs=spans([*disabled_at.values(), *(e.seq for e in wrong)]),
        table=Table.of(
            ("record", "time (UTC)", "principal", "action", "resource"),
            ((e.seq, e.at, e.principal, e.action, e.resource) for e in wrong),
        ),
    )


CHECKS = (
    Check(
        id="identity.unique_principals",
        version=1,
        title="Every act leads to one known person or service",
        supports={
            Framework.HIPAA: (Support("164.312(a)(2)(i)"),),
            Framework.PCI: (Support("8.2.1"),),
        },
        read=_unique_principals,
    ),
    Check(
        id="identity.sessions_authenticated",
        version=1,
        title="Nothing is done from outside without a session",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.312(d)",
                    "a second factor on every session, which our policy asks for, is not joined yet",
                ),
            ),
            Framework.PCI: (Support("8.3.1", "authentication inside guests is not examined"),),
        },
        read=_sessions_authenticated,
    ),
    Check(
        id="identity.readers_only_read",
        version=1,
        title="Accounts that may only read are refused everything else",
        supports={
            Framework.PCI: (
                Support("7.2.2", "roles other than the auditor's are not compared with job descriptions"),
            ),
        },
        read=_readers_only_read,
    ),
    Check(
        id="identity.disabled_stay_out",
        version=1,
        title="A disabled account is let in no more",
        supports={
            Framework.HIPAA: (
                Support(
                    "164.308(a)(3)(ii)(C)",
                    "when a person left is not known here, so the delay is not measured",
                ),
            ),
            Framework.PCI: (
                Support("8.2.5", "when a person left is not known here, so the delay is not measured"),
            ),
        },
        read=_disabled_stay_out,
        whole_log=True,
    ),
)
