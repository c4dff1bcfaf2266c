"""Whether the key store is the one that the state speaks of: neither older, nor another site's (decision record 17).

Compared by content, key by key, so that the answer names what is missing, and no counter has to be kept in step in
two files. What is just being made or deleted is in neither list for certain; it is left out.
"""

from dataclasses import dataclass

from sqlmodel import col, select

from policies.vocabulary import EntityRef, EntityType
from vault.errors import KeyStoreOlder
from vault.identity.accounts import account_ref
from vault.keystore.keys import PASSPHRASE_PURPOSES, KeyInfo
from vault.keystore.lifecycle import KeyState
from vault.model import Account, Disk, Guest, GuestState
from vault.site import Site

#: The code of the finding; its resource is the guest or account.
OLDER_KEY_STORE = "keystore.older"
OLDER_STATE = "state.older"


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What key store and state say differently.

    Attributes:
        missing: guests and accounts whose keys the state names and the key store has not, or has destroyed.
        revived: deleted guests of which the key store holds a living key.
        unknown: guests of which the key store holds a living key and the state knows nothing.
        foreign: whether the key store holds none of the keys that the state names.
    """

    missing: frozenset[EntityRef] = frozenset()
    revived: frozenset[EntityRef] = frozenset()
    unknown: frozenset[EntityRef] = frozenset()
    foreign: bool = False

    @property
    def key_store_is_older(self) -> bool:
        """Whether the key store lacks what the state knows of it."""
        return bool(self.missing or self.revived)

    def refusal(self) -> KeyStoreOlder:
        """The error that says what is wrong with the key store."""
        if self.foreign:
            return KeyStoreOlder(
                "The key store holds none of this site's keys: it is another site's, or was made anew.",
                "Put this site's key store in its place, restart the daemon, then unseal.",
            )
        told = [f"{len(self.missing)} of the keys in use are missing in it"] if self.missing else []
        if self.revived:
            told.append(f"{len(self.revived)} destroyed ones are alive again")
        return KeyStoreOlder(
            f"The key store is older than the site's state: {', and '.join(told)}.",
            "Put its newest copy in its place and restart the daemon; if that is lost for good, "
            "`strongroom unseal --accept-older` goes on with this one.",
        )


def compare(site: Site) -> Disagreement:
    """Compare key store and state as they are now; works while sealed.

    Raises:
        KeyStoreDamaged: the key store is not there, or is no sound one.
    """
    first, again = _compare(site), _compare(site)
    # Twice, because a deletion may be under way: what is only half done then shows once.
    return Disagreement(
        first.missing & again.missing,
        first.revived & again.revived,
        first.unknown & again.unknown,
        first.foreign and again.foreign,
    )


def tell(site: Site, found: Disagreement) -> None:
    """Open a finding for each disagreement, and close those that are no more."""
    wanted: dict[tuple[str, str], str] = {}
    for ref in found.missing:
        wanted[OLDER_KEY_STORE, str(ref)] = (
            "The key store has no living key for it: the key store is older than the state, or damaged."
        )
    for ref in found.revived:
        wanted[OLDER_KEY_STORE, str(ref)] = (
            "A destroyed key of a deleted guest is alive again: the key store was rolled back."
        )
    for ref in found.unknown:
        wanted[OLDER_STATE, str(ref)] = (
            "The key store holds a key of a guest that the state does not know: the state was rolled back."
        )
    for finding in site.findings.all_open():
        key = (finding.code, finding.resource)
        if finding.code in {OLDER_KEY_STORE, OLDER_STATE} and key not in wanted:
            site.findings.close(*key)
    for (code, resource), sentence in wanted.items():
        site.findings.open(code, resource=resource, sentence=sentence)


def _compare(site: Site) -> Disagreement:
    keys = {key.id: key for key in site.keys.list_keys()}
    with site.database.session() as session:
        states = dict(session.exec(select(Guest.id, Guest.state)).all())
        disks = session.exec(select(Disk.guest_id, Disk.key_id)).all()
        persons = session.exec(
            select(Account.id, Account.personal_key_id).where(col(Account.personal_key_id).is_not(None))
        ).all()
    named = {
        key_id: EntityRef(EntityType.GUEST, guest_id)
        for guest_id, key_id in disks
        if states.get(guest_id) == GuestState.READY
    }
    named.update({str(key_id): account_ref(account_id) for account_id, key_id in persons})
    missing = {owner for key_id, owner in named.items() if not _lives_for(keys.get(key_id), owner)}
    living = {
        key.owner
        for key in keys.values()
        if key.purpose in PASSPHRASE_PURPOSES and key.state is not KeyState.DESTROYED
    }
    return Disagreement(
        frozenset(missing),
        frozenset(owner for owner in living if states.get(owner.id) == GuestState.DELETED),
        frozenset(owner for owner in living if owner.id not in states),
        foreign=bool(named) and not named.keys() & keys.keys(),
    )


def _lives_for(key: KeyInfo | None, owner: EntityRef) -> bool:
    return key is not None and key.owner == owner and key.state is not KeyState.DESTROYED
