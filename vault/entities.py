"""Builds the few Cedar entities one access touches, from the state as it is now.

Called by the gate inside the resource's lock, so that a role revoked a moment ago no longer counts.
"""

from policies.vocabulary import Entity, EntityRef, EntityType, Role
from vault.database import Database
from vault.gate import Access
from vault.model import Account, Guest, Job, LoginSession

SITE = EntityRef(EntityType.SITE, "site")
KEY_STORE = EntityRef(EntityType.KEY_STORE, "keystore")
LOG = EntityRef(EntityType.LOG, "log")
HOST = EntityRef(EntityType.HOST, "host")
DAEMON = EntityRef(EntityType.OPERATING_SYSTEM, "daemon")
RECOVERY = EntityRef(EntityType.OPERATING_SYSTEM, "recovery")
#: Who tries to log in under a name that no account has.
UNKNOWN_ACCOUNT = EntityRef(EntityType.ACCOUNT, "unknown")


def guest_ref(guest_id: str) -> EntityRef:
    """The guest as the policy and the log name it."""
    return EntityRef(EntityType.GUEST, guest_id)


def guest_entity(guest_id: str, labels: list[str], owner: str) -> Entity:
    """The guest as policies see it."""
    return Entity(guest_ref(guest_id), {"labels": sorted(labels), "owner": owner})


def account_entity(account_id: str, roles: list[Role] | list[str], *, active: bool) -> Entity:
    """The account as policies see it; its roles are its parents."""
    return Entity(
        EntityRef(EntityType.ACCOUNT, account_id),
        {"active": active},
        tuple(EntityRef(EntityType.ROLE, str(role)) for role in sorted(roles)),
    )


class EntityBuilder:
    """Reads principal and resource from the state database."""

    def __init__(self, database: Database) -> None:
        # What policies look at, and no more.
        self._account = database.columns_by_id(Account.roles, Account.active)
        self._guest = database.columns_by_id(Guest.labels, Guest.owner)
        self._owner_of = {
            EntityType.SESSION: database.columns_by_id(LoginSession.account_id),
            EntityType.JOB: database.columns_by_id(Job.account_id),
        }

    def entities_for(self, access: Access) -> tuple[Entity, ...]:
        """Return principal, its roles, and the resource.

        What does not exist any more has no entity: the policy then misses an attribute, and an error in a
        policy denies.
        """
        known = {entity.ref: entity for entity in access.entities}
        wanted = [access.caller.principal, access.resource]
        for ref in wanted:
            if ref not in known and (entity := self._read(ref)) is not None:
                known[ref] = entity
        for entity in list(known.values()):
            for parent in entity.parents:
                # The account that a session or a job lies in is named and not described: an account has
                # attributes, and one without them is an error, which denies.
                if parent.type is EntityType.ROLE:
                    known.setdefault(parent, Entity(parent))
        return tuple(known[ref] for ref in sorted(known, key=str))

    def _read(self, ref: EntityRef) -> Entity | None:
        if ref == UNKNOWN_ACCOUNT:
            return account_entity(ref.id, [], active=False)
        if ref.type is EntityType.ACCOUNT:
            account = self._account(ref.id)
            return None if account is None else account_entity(ref.id, account[0], active=account[1])
        if ref.type is EntityType.GUEST:
            guest = self._guest(ref.id)
            return None if guest is None else guest_entity(ref.id, *guest)
        if ref.type in self._owner_of:
            owner = self._owner_of[ref.type](ref.id) or ()
            return Entity(ref, parents=tuple(EntityRef(EntityType.ACCOUNT, each) for each in owner))
        return Entity(ref)
