"""The one pass over the records: their bytes, hashes, links and numbers, in flat memory.

Bytes are hashed as they are stored (D4). When a link does not fit, its neighbours decide which record is the bad
one: a record that its successor still points at was not changed.
"""

import sys
from binascii import hexlify
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from re import Match

from audit.errors import RecordInvalid
from audit.log.merkle import Frontier, TreeHead, leaf_hash
from audit.log.record import NO_PREV, take_apart
from audit.verify.report import BadRecord, FirstBad

#: Leaf hashes kept to recognise repeated and inserted records by.
_RECENT = 1024

#: Looks at a well-placed record's fields: number, fields. May raise BadRecord.
Examine = Callable[[int, Match[bytes]], None]

#: Told the tree and its last record's bytes when a marked size is reached.
AtMark = Callable[[TreeHead, bytes], None]


def at_each(*told: AtMark) -> AtMark:
    """Tell several of each mark; each looks only at the sizes it knows."""

    def tell(head: TreeHead, last_record: bytes) -> None:
        for each in told:
            each(head, last_record)

    return tell


@dataclass(frozen=True, slots=True)
class _Suspect:
    """The last record so far; its link does not fit, and its successor must tell whose fault that is."""

    seq: int
    id: str | None
    prev: bytes
    leaf: bytes


class Chain:
    """Checks records in order.

    Args:
        examine: looks at each record's fields. None leaves out all that needs them and is several times faster:
            then bytes, links, root and signature are checked, and nothing else.
        watch: size of the signed tree, whose root is wanted.
        marks: further sizes at which the tree is wanted, rising.
        at_mark: told of each when it is reached.
    """

    def __init__(
        self,
        examine: Examine | None,
        watch: int | None = None,
        marks: Sequence[int] = (),
        at_mark: AtMark | None = None,
    ) -> None:
        self.size = 0
        self._examine = examine
        self._watch = watch
        self._marks = deque(marks)
        self._at_mark = at_mark
        self._watched: tuple[TreeHead, bytes] | None = None
        self._frontier = Frontier()  # of all leaves but the last, which may turn out to be in doubt
        self._last_leaf = b""
        self._last_line = b""
        self._recent: deque[bytes] = deque(maxlen=_RECENT)
        self._suspect: _Suspect | None = None

    def head(self) -> TreeHead:
        """The tree of what was checked."""
        return TreeHead(self.size, self._root([self._last_leaf] if self.size else []))

    def feed(self, lines: Sequence[bytes]) -> list[bytes]:
        """Check the next records.

        Args:
            lines: their bytes.

        Returns:
            Their leaf hashes; without the last when that is in doubt.

        Raises:
            BadRecord: one is not what it should be.
        """
        leaves: list[bytes] = []
        position = 0
        while position < len(lines):
            part = lines[position : position + self._until_stop()]
            leaves += self._feed_part(part)
            position += len(part)
        return leaves

    def finish(self, signed: TreeHead | None) -> None:
        """Check the end, and the tree against the signed one.

        Args:
            signed: size (equal to `watch`) and root of the checkpoint, where there is a valid one.

        Raises:
            BadRecord: the end is cut off, or not what was signed.
        """
        self._check_last()
        suspect = self._suspect
        if suspect is not None:
            # With what the last record says of the one before in its place, is the tree the signed one?
            unchanged = signed is not None and self._root([suspect.prev, suspect.leaf]) == signed.root
            raise self._blame(suspect, unchanged)
        if signed is None or signed == self.head():
            return
        if self.size < signed.size:
            sentence = f"Record {self.size} is missing: the checkpoint was signed over {signed.size} records."
            raise _bad(self.size, None, "log.truncated", sentence)
        if self._watched is not None and self._watched[0] != signed:
            # Whoever changed a record and mended all links after it changed the last one for certain.
            seq = signed.size - 1
            sentence = (
                f"Record {seq} is not the one that was signed: it was changed, or the log written anew."
            )
            raise _bad(seq, _id_of(self._watched[1]), "log.not_signed", sentence)

    def _until_stop(self) -> int:
        """How many records may be taken at once, up to the next size at which the tree is wanted."""
        while self._marks and self._marks[0] <= self.size:
            self._marks.popleft()
        stops = [self._marks[0] if self._marks else None, self._watch]
        ahead = [stop - self.size for stop in stops if stop is not None and stop > self.size]
        return min(ahead, default=sys.maxsize)

    def _feed_part(self, lines: Sequence[bytes]) -> list[bytes]:
        """Check records none of which but the last completes a wanted size."""
        if self._suspect is not None:
            raise self._blame(self._suspect, _prev_of(lines[0]) == self._suspect.leaf)
        leaves: list[bytes] = []
        try:
            if self._examine is None:
                self._hash(lines, leaves)
            else:
                self._look(lines, leaves, self._examine)
        finally:
            self._keep(lines, leaves)
        if len(leaves) < len(lines):
            self._judge(*lines[len(leaves) : len(leaves) + 2])
        return leaves

    def _hash(self, lines: Sequence[bytes], leaves: list[bytes]) -> None:
        # Text in a record cannot hold a quotation mark, so these bytes stand nowhere before their place. To find
        # the short mark and compare there is faster than to search for the whole; so is to copy a hash begun.
        expected = b'"prev":"%b","principal":"' % self._link()
        begun = sha256(b"\x00")
        for line in lines:
            if not line.startswith(expected, line.find(b'"prev":"')):
                return
            hashing = begun.copy()
            hashing.update(line)
            leaf = hashing.digest()
            leaves.append(leaf)
            expected = b'"prev":"%b","principal":"' % hexlify(leaf)

    def _look(self, lines: Sequence[bytes], leaves: list[bytes], examine: Examine) -> None:
        expected = self._link()
        for seq, line in enumerate(lines, self.size):
            found = _take_apart(seq, line)
            if found["prev"] != expected:
                return
            if int(found["seq"]) != seq:
                sentence = f"Record {seq} has another number in it."
                raise _bad(seq, _id_of(line), "record.sequence", sentence)
            examine(seq, found)
            leaf = sha256(b"\x00" + line).digest()
            leaves.append(leaf)
            expected = hexlify(leaf)

    def _keep(self, lines: Sequence[bytes], leaves: list[bytes]) -> None:
        if not leaves:
            return
        self._frontier.extend([self._last_leaf, *leaves[:-1]] if self.size else leaves[:-1])
        self.size += len(leaves)
        self._last_leaf, self._last_line = leaves[-1], lines[len(leaves) - 1]
        self._recent.extend(leaves)
        if self.size == self._watch:
            self._watched = (self.head(), self._last_line)
        if self._at_mark is not None and self._marks and self.size == self._marks[0]:
            self._at_mark(self.head(), self._last_line)

    def _judge(self, line: bytes, following: bytes | None = None) -> None:
        """The link of the next record does not fit: say which record is bad, or suspect it."""
        self._check_last()
        seq = self.size
        found = _take_apart(seq, line)
        prev, leaf, record_id = bytes.fromhex(found["prev"].decode()), leaf_hash(line), _id_of(line)
        if leaf in self._recent:
            raise _bad(seq, record_id, "record.repeated", f"Record {seq} is another one, repeated.")
        if prev in self._recent or (seq and found["prev"] == NO_PREV.encode()):
            # It follows an earlier record than the one before it, so what stands between does not belong.
            recent = list(self._recent)
            first = self.size - len(recent) + recent.index(prev) + 1 if prev in self._recent else 0
            first_id = _id_of(self._last_line) if first == seq - 1 else None
            raise _bad(first, first_id, "record.inserted", f"Record {first} was inserted.")
        if int(found["seq"]) > seq:
            raise _bad(seq, None, "record.missing", f"Record {seq} is missing from its place.")
        suspect = _Suspect(seq, record_id, prev, leaf)
        if following is None:
            self._suspect = suspect
        else:
            raise self._blame(suspect, _prev_of(following) == leaf)

    def _check_last(self) -> None:
        """Without a look at fields, what is no record at all may have passed; it is the bad one then."""
        if self._examine is None and self.size:
            _take_apart(self.size - 1, self._last_line)

    def _blame(self, suspect: _Suspect, unchanged: bool) -> BadRecord:  # noqa: FBT001 - private, one caller's verdict
        if unchanged and suspect.seq:
            seq, record_id = suspect.seq - 1, _id_of(self._last_line)
        else:
            seq, record_id = suspect.seq, suspect.id
        return _bad(seq, record_id, "record.changed", f"Record {seq} was changed.")

    def _link(self) -> bytes:
        return hexlify(self._last_leaf) if self.size else NO_PREV.encode()

    def _root(self, last_leaves: Sequence[bytes]) -> bytes:
        """The root when these leaves stand after all but the last."""
        frontier = self._frontier.copy()
        frontier.extend(last_leaves)
        return frontier.root()


def _bad(seq: int, record_id: str | None, code: str, sentence: str) -> BadRecord:
    return BadRecord(FirstBad(seq, record_id, code), sentence)


def _take_apart(seq: int, line: bytes) -> Match[bytes]:
    try:
        return take_apart(line)
    except RecordInvalid as error:
        raise _bad(seq, None, "record.malformed", f"Record {seq} is malformed. {error.message}") from error


def _id_of(line: bytes) -> str | None:
    try:
        return take_apart(line)["id"].decode()
    except RecordInvalid:
        return None


def _prev_of(line: bytes) -> bytes | None:
    """What a record points at; None when it is no record."""
    try:
        return bytes.fromhex(take_apart(line)["prev"].decode())
    except RecordInvalid:
        return None
