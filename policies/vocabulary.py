"""The words every access is described in: principals, actions, resources, requests, decisions.

One enum of actions drives the policy files, the log, the API and the pages, so that a word
means the same everywhere. The terms are Cedar's: principal, action, resource, context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: What Cedar can hold, as far as Strongroom uses it. No floats: records forbid them.
Value = bool | int | str | list[str]


class EntityType(StrEnum):
    """Types of Cedar entities. The value is the name in the schema."""

    ACCOUNT = "Account"  # a person's or a service's account
    OPERATING_SYSTEM = "OperatingSystem"  # a host user acting without the daemon, or the daemon itself
    ROLE = "Role"
    GUEST = "Guest"
    IMAGE = "Image"
    KEY = "Key"
    KEY_STORE = "KeyStore"
    LOG = "Log"
    REPORT = "Report"
    POLICY_BUNDLE = "PolicyBundle"
    SESSION = "Session"
    HOST = "Host"
    JOB = "Job"
    FINDING = "Finding"
    SITE = "Site"  # the installation as a whole: lists and creations act on it


class Role(StrEnum):
    """What an account may be. An account may hold several."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    CUSTODIAN = "custodian"
    APPROVER = "approver"
    OFFICER = "officer"  # compliance officer
    AUDITOR = "auditor"
    MONITOR = "monitor"  # a program that watches figures; sees no name and changes nothing


class Action(StrEnum):
    """Everything that can be asked of the gate, as `subject.verb`."""

    SYSTEM_INIT = "system.init"
    SYSTEM_START = "system.start"
    SYSTEM_STOP = "system.stop"
    SYSTEM_RECOVER = "system.recover"

    KEYSTORE_UNSEAL = "keystore.unseal"
    KEYSTORE_SEAL = "keystore.seal"

    SESSION_LOGIN = "session.login"
    SESSION_LIST = "session.list"
    SESSION_END = "session.end"

    ACCOUNT_CREATE = "account.create"
    ACCOUNT_LIST = "account.list"
    ACCOUNT_DISABLE = "account.disable"
    ACCOUNT_PASSWORD = "account.password"  # noqa: S105 - the name of an action, not a password
    TOKEN_CREATE = "token.create"  # noqa: S105
    TOKEN_LIST = "token.list"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105

    GUEST_LIST = "guest.list"
    GUEST_SHOW = "guest.show"
    GUEST_CREATE = "guest.create"
    GUEST_START = "guest.start"
    GUEST_STOP = "guest.stop"
    GUEST_DELETE = "guest.delete"
    GUEST_EXEC = "guest.exec"
    GUEST_COPY_IN = "guest.copy_in"
    GUEST_COPY_OUT = "guest.copy_out"

    IMAGE_LIST = "image.list"
    IMAGE_BUILD = "image.build"
    IMAGE_IMPORT = "image.import"
    IMAGE_VERIFY = "image.verify"
    IMAGE_DELETE = "image.delete"

    KEY_LIST = "key.list"
    KEY_SHOW = "key.show"

    LOG_LIST = "log.list"
    LOG_SHOW = "log.show"
    LOG_VERIFY = "log.verify"
    LOG_CHECKPOINT = "log.checkpoint"
    LOG_EPOCH = "log.epoch"
    LOG_EXPORT = "log.export"
    LOG_PROVE = "log.prove"
    LOG_REPLAY = "log.replay"

    POLICY_LIST = "policy.list"
    POLICY_CHECK = "policy.check"

    REPORT_CREATE = "report.create"
    REPORT_LIST = "report.list"
    REPORT_DOWNLOAD = "report.download"

    HOST_INSPECT = "host.inspect"
    FINDING_LIST = "finding.list"
    FINDING_ACKNOWLEDGE = "finding.acknowledge"
    FINDING_CLOSE = "finding.close"
    METRICS_READ = "metrics.read"

    JOB_CANCEL = "job.cancel"


@dataclass(frozen=True, slots=True)
class EntityRef:
    """Names one entity. Written `guest:1f0c…` in records, `Guest::"1f0c…"` in Cedar."""

    type: EntityType
    id: str

    def __str__(self) -> str:
        return f"{_RECORD_PREFIX[self.type]}:{self.id}"

    @classmethod
    def parse(cls, written: str) -> "EntityRef":
        """Read a reference back from how a record writes it.

        Raises:
            ValueError: it is not written so.
        """
        prefix, _, entity_id = written.partition(":")
        entity_type = _ENTITY_TYPE.get(prefix)
        if entity_type is not None and entity_id:
            return cls(entity_type, entity_id)
        raise ValueError(f"{written!r} names no entity")


#: How each entity type is written in a record; `os:` and the like are fixed by INTERFACES.
_RECORD_PREFIX: Mapping[EntityType, str] = {
    EntityType.ACCOUNT: "account",
    EntityType.OPERATING_SYSTEM: "os",
    EntityType.ROLE: "role",
    EntityType.GUEST: "guest",
    EntityType.IMAGE: "image",
    EntityType.KEY: "key",
    EntityType.KEY_STORE: "keystore",
    EntityType.LOG: "log",
    EntityType.REPORT: "report",
    EntityType.POLICY_BUNDLE: "policy",
    EntityType.SESSION: "session",
    EntityType.HOST: "host",
    EntityType.JOB: "job",
    EntityType.FINDING: "finding",
    EntityType.SITE: "site",
}
_ENTITY_TYPE: Mapping[str, EntityType] = {prefix: kind for kind, prefix in _RECORD_PREFIX.items()}


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity as Cedar sees it: reference, attributes, parents (roles of an account)."""

    ref: EntityRef
    attributes: Mapping[str, Value] = field(default_factory=dict)
    parents: tuple[EntityRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the policy engine, with the few entities it touches."""

    principal: EntityRef
    action: Action
    resource: EntityRef
    context: Mapping[str, Value]
    entities: tuple[Entity, ...]


class Verdict(StrEnum):
    """The answer of the policy. `UNMET`: allowed once an obligation is met (exit code 8)."""

    ALLOW = "allow"
    DENY = "deny"
    UNMET = "unmet"


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's answer and why.

    Attributes:
        verdict: allow, deny or unmet.
        policies: ids of the policies that decided, sorted; empty when no permit matched.
        reason: one sentence for people; never contains a name or free text of the request.
        obligations: what is still demanded, sorted; empty unless the verdict is unmet.
        bundle: SHA-256 of the policy bundle, hex.
        evaluation_failed: the policy could not be evaluated, so the verdict is deny; worth an alarm.
    """

    verdict: Verdict
    policies: tuple[str, ...]
    reason: str
    obligations: tuple[str, ...]
    bundle: str
    evaluation_failed: bool = False
