"""Key epochs: the trust rules of the second, evolving signature on checkpoints, with no I/O.

The log's own key never changes, because witnesses know the log by it. Beside it an epoch key signs, which is replaced
each hour and at each start, and destroyed when it is replaced. Whoever steals today's keys can therefore sign nothing
that an earlier epoch would have signed: each change of keys is a record that the key before signed over the tree as it
was, so the records up to the last change are as fixed as that signature (forward security; decision record 20).

The rules, each checked here and nowhere else:

1. an epoch's record is number `start.size`, and states size and root of the tree before it;
2. epochs are numbered from 0 without a gap, and each begins behind the one before;
3. epoch 0 is signed by the log's key, every other by the key of the epoch before it;
4. no key serves twice, and its name says which log and epoch it is for;
5. the tree of `size` records is signed by the last epoch with `start.size < size`, and by no other.
"""

import base64
import binascii
import json
from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, Self

from audit.errors import EpochInvalid, NoteInvalid, RecordInvalid
from audit.log.merkle import EMPTY_ROOT, HASH_BYTES, TreeHead
from audit.log.note import VerifierKey
from audit.log.record import Draft, Kind, take_apart
from audit.ports import Signer

#: Action of the record that begins an epoch.
ACTION: Final = "log.epoch"
_TEXT_HEAD = "strongroom.epoch/v1"
_MEMBERS = {"epoch", "root", "signature", "size", "vkey"}


def key_name(origin: str, number: int) -> str:
    """Name of an epoch's key: the log's origin and the epoch's number."""
    return f"{origin}/epoch/{number}"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: where it begins, and whose key signs in it.

    Attributes:
        number: 0 for the first.
        start: the tree before the epoch's record, which has number `start.size`.
        key: public half of the key that signs in this epoch.
        signature: Ed25519 over `text`, 64 bytes, by the key before it.
    """

    number: int
    start: TreeHead
    key: VerifierKey
    signature: bytes

    @classmethod
    def begin(cls, origin: str, number: int, start: TreeHead, key: VerifierKey, present: Signer) -> Self:
        """Sign the change to a new key with the present one."""
        return cls(number, start, key, present.sign(_text(origin, number, start, key)))

    def check_signature(self, origin: str, signer: VerifierKey) -> None:
        """Check that `signer` signed this change.

        Raises:
            NoteInvalid: it did not.
        """
        signer.verify(_text(origin, self.number, self.start, self.key), self.signature)

    def draft(self) -> Draft:
        """The record that begins this epoch; it must become number `start.size`."""
        facts: dict[str, object] = {
            "epoch": self.number,
            "root": self.start.root.hex(),
            "signature": base64.b64encode(self.signature).decode(),
            "size": self.start.size,
            "vkey": str(self.key),
        }
        return Draft(
            kind=Kind.SYSTEM,
            principal="os:daemon",
            action=ACTION,
            resource="log:log",
            result={"code": "ok", "facts": facts},
        )

    @classmethod
    def read(cls, untrusted_record: bytes) -> Self:
        """Read a record's bytes as the beginning of an epoch; nothing of it is believed yet.

        Raises:
            EpochInvalid: it is not one.
        """
        try:
            found = take_apart(untrusted_record)
            if (found["action"], found["kind"]) != (ACTION.encode(), b"system") or found["facts"] is None:
                raise ValueError
            facts = json.loads(found["facts"])
            if facts.keys() != _MEMBERS or type(facts["epoch"]) is not int or type(facts["size"]) is not int:
                raise ValueError
            root = bytes.fromhex(facts["root"])
            signature = base64.b64decode(facts["signature"], validate=True)
            if len(root) != HASH_BYTES or int(found["seq"]) != facts["size"] or facts["epoch"] < 0:
                raise ValueError
            if facts["size"] == 0 and root != EMPTY_ROOT:
                raise ValueError
            return cls(
                facts["epoch"], TreeHead(facts["size"], root), VerifierKey.parse(facts["vkey"]), signature
            )
        except (RecordInvalid, NoteInvalid, ValueError, TypeError, AttributeError, binascii.Error) as error:
            raise EpochInvalid("A record that should begin a key epoch does not have its form.") from error


class EpochChain:
    """Follows the epochs of a log from its own key on, believing only what the key before signed.

    Args:
        origin: the log's identity.
        log_key: the log's own key.
    """

    def __init__(self, origin: str, log_key: VerifierKey) -> None:
        self._origin = origin
        self._log_key = log_key
        self._epochs: list[Epoch] = []

    def __len__(self) -> int:
        return len(self._epochs)

    @property
    def latest(self) -> Epoch | None:
        """The present epoch; None before the first."""
        return self._epochs[-1] if self._epochs else None

    @property
    def keys(self) -> tuple[VerifierKey, ...]:
        """The keys of all epochs in order."""
        return tuple(each.key for each in self._epochs)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of the records that begin the epochs."""
        return tuple(each.start.size for each in self._epochs)

    def follow(self, epoch: Epoch) -> None:
        """Go on to the next epoch.

        Raises:
            EpochInvalid: it does not follow from the present one.
        """
        number = len(self._epochs)
        before = self.latest
        if epoch.number != number:
            raise EpochInvalid(f"Key epoch {epoch.number} stands where epoch {number} should.")
        if before is not None and epoch.start.size <= before.start.size:
            raise EpochInvalid(f"Key epoch {number} does not begin behind the one before it.")
        if epoch.key.name != key_name(self._origin, number):
            raise EpochInvalid(f"The key of epoch {number} is named for something else.")
        if any(epoch.key.public == known.key.public for known in self._epochs):
            raise EpochInvalid(f"The key of epoch {number} served before.")
        signer = self._log_key if before is None else before.key
        try:
            epoch.check_signature(self._origin, signer)
        except NoteInvalid as error:
            raise EpochInvalid(
                f"The change to key epoch {number} was not signed by {signer.name}."
            ) from error
        self._epochs.append(epoch)

    def signer_of(self, size: int) -> VerifierKey:
        """The epoch key that signs the tree of `size` records.

        Raises:
            EpochInvalid: no epoch had begun.
        """
        at = bisect_left(self._epochs, size, key=lambda epoch: epoch.start.size)
        if not at:
            raise EpochInvalid(f"No key epoch had begun when the log had {size} records.")
        return self._epochs[at - 1].key

    def begun_with(self, trusted: VerifierKey) -> None:
        """Check that one of the epochs has the key that a person got by another way.

        Raises:
            EpochInvalid: none has.
        """
        if trusted not in self.keys:
            raise EpochInvalid(f"No key epoch has the trusted key {trusted}.")


def _text(origin: str, number: int, start: TreeHead, key: VerifierKey) -> bytes:
    """What is signed: kind of statement, log, epoch, size and root of the tree so far, the new key, a line each."""
    root = base64.b64encode(start.root).decode()
    return f"{_TEXT_HEAD}\n{origin}\n{number}\n{start.size}\n{root}\n{key}\n".encode()
