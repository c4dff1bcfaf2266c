"""Checks of the accounts there are: second factors, unused ones, custodians, owners of service accounts."""

from collections.abc import Callable
from datetime import timedelta

from audit.evidence.check import Check, CheckResult, Snapshot, Support, Table, judged, not_evaluated
from audit.evidence.facts import AccountFacts
from audit.evidence.framework import Framework
from audit.evidence.instant import format_instant

_UNUSED_FOR = timedelta(days=90)
#: Roles that change what the platform does or protects.
_ADMINISTERING = frozenset({"administrator", "operator", "custodian"})
_NOT_JOINED = "that the factor was used in each session is not joined yet"


def _people(snapshot: Snapshot) -> list[AccountFacts]:
    accounts = sorted(snapshot.facts.accounts, key=lambda account: account.id)
    return [account for account in accounts if account.active and not account.service]


def _second_factor(whom: str, roles: frozenset[str]) -> Callable[[Snapshot], CheckResult]:
    def evaluate(snapshot: Snapshot) -> CheckResult:
        people = [account for account in _people(snapshot) if not roles or roles & set(account.roles)]
        without = [account for account in people if not account.second_factor]
        return judged(
            population=len(people),
            violations=len(without),
            unit=whom,
            query=f"{whom}: active accounts that are not service accounts; whether a second factor is enrolled",
            holds=f"Everybody has a second factor ({len(people)} of {len(people)}).",
            fails=f"People who log in with a password alone: {len(without)} of {len(people)}.",
            empty="There is no active account of such a person.",
            table=Table.of(
                ("account", "roles", "second factor"),
                ((a.id, ", ".join(sorted(a.roles)), "yes" if a.second_factor else "no") for a in people),
            ),
        )

    return evaluate


def _unused_disabled(snapshot: Snapshot) -> CheckResult:
    active = [a for a in sorted(snapshot.facts.accounts, key=lambda account: account.id) if a.active]
    limit = snapshot.facts.system.extracted_at - _UNUSED_FOR
    unused = [a for a in active if (a.last_login_at or a.created_at) < limit]
    return judged(
        population=len(active),
        violations=len(unused),
        unit="active accounts",
        query=(
            "active accounts; last log-in, or creation where there was none, not older than 90 days at "
            "extraction"
        ),
        holds=f"Every active account ({len(active)}) was used, or created, within 90 days.",
        fails=f"Active accounts that nobody used for 90 days: {len(unused)} of {len(active)}.",
        empty="There is no active account.",
        table=Table.of(
            ("account", "roles", "created (UTC)", "last log-in (UTC)", "unused"),
            (
                (
                    a.id,
                    ", ".join(sorted(a.roles)),
                    format_instant(a.created_at),
                    format_instant(a.last_login_at) if a.last_login_at else "never",
                    "yes" if a in unused else "no",
                )
                for a in active
            ),
        ),
    )


def _few_custodians(snapshot: Snapshot) -> CheckResult:
    custodians = [a for a in snapshot.facts.accounts if a.active and "custodian" in a.roles]
    custodians.sort(key=lambda account: account.id)
    most = snapshot.facts.settings.max_custodians
    excess = max(len(custodians) - most, 0)
    return judged(
        population=len(custodians),
        violations=excess,
        unit="key custodians",
        query=f"active accounts with the role custodian; at most {most} by our setting",
        holds=f"Key custodians: {len(custodians)}, at most the {most} we allow.",
        fails=f"Key custodians: {len(custodians)}, {excess} more than the {most} we allow.",
        empty="No active account is a key custodian.",
        table=Table.of(
            ("account", "roles", "service"),
            ((a.id, ", ".join(sorted(a.roles)), "yes" if a.service else "no") for a in custodians),
        ),
    )


def _service_accounts_owned(snapshot: Snapshot) -> CheckResult:
    services = [
        a for a in sorted(snapshot.facts.accounts, key=lambda account: account.id) if a.active and a.service
    ]
    orphans = [a for a in services if a.owner is None]
    return judged(
        population=len(services),
        violations=len(orphans),
        unit="service accounts",
        query="active service accounts; whether a person owns each",
        holds=f"Every service account has an owner ({len(services)} of {len(services)}).",
        fails=f"Service accounts without an owner: {len(orphans)} of {len(services)}.",
        empty="There is no active service account.",
        table=Table.of(
            ("account", "roles", "owner"), ((a.id, ", ".join(sorted(a.roles)), a.owner) for a in services)
        ),
    )


def _password_age(snapshot: Snapshot) -> CheckResult:
    alone = [account for account in _people(snapshot) if not account.second_factor]
    query = "active people without a second factor; whether each changed their password within 90 days"
    if any(account.password_changed_at is None for account in alone):
        return not_evaluated("When passwords were changed was not reported.", unit="people", query=query)
    limit = snapshot.facts.system.extracted_at - _UNUSED_FOR
    old = [account for account in alone if (account.password_changed_at or limit) < limit]
    return judged(
        population=len(alone),
        violations=len(old),
        unit="people",
        query=query,
        holds=f"Everybody who logs in with a password alone ({len(alone)}) changed it within 90 days.",
        fails=f"Passwords older than 90 days that are the only factor: {len(old)} of {len(alone)}.",
        empty="Nobody logs in with a password alone, so the age of passwords is not limited.",
        table=Table.of(
            ("account", "password of (UTC)"),
            ((a.id, format_instant(a.password_changed_at) if a.password_changed_at else None) for a in alone),
        ),
    )


CHECKS = (
    # The HIPAA rule in force does not ask for a second factor, so both are evidence for PCI only.
    Check(
        id="account.second_factor_administrators",
        version=1,
        title="Those who administer log in with a second factor",
        supports={Framework.PCI: (Support("8.4.1", _NOT_JOINED),)},
        evaluate=_second_factor("people who administer", _ADMINISTERING),
    ),
    Check(
        id="account.second_factor",
        version=1,
        title="Everybody logs in with a second factor",
        supports={Framework.PCI: (Support("8.4.2", _NOT_JOINED),)},
        evaluate=_second_factor("people", frozenset()),
    ),
    Check(
        id="account.unused_disabled",
        version=1,
        title="Accounts that nobody uses are not active",
        supports={Framework.PCI: (Support("8.2.6"),)},
        evaluate=_unused_disabled,
    ),
    Check(
        id="account.few_custodians",
        version=1,
        title="Few people are key custodians",
        supports={
            Framework.PCI: (
                Support("3.6.1"),
                Support("3.6.1.3", "that all who brought out a key were custodians then is not joined yet"),
            ),
        },
        evaluate=_few_custodians,
    ),
    Check(
        id="password.age",
        version=1,
        title="A password that is the only factor is young",
        supports={Framework.PCI: (Support("8.3.9"),)},
        evaluate=_password_age,
    ),
    Check(
        id="account.services_owned",
        version=1,
        title="Each service account has an owner",
        supports={
            Framework.PCI: (Support("7.2.5", "the periodic review of their access is a workflow record"),),
        },
        evaluate=_service_accounts_owned,
    ),
)
