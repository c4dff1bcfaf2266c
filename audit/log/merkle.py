"""The Merkle tree of RFC 6962 section 2.1: hashes, the tree's growing edge, and roots from stored hashes.

Nothing here is our own invention, on purpose: the tree is unchanged RFC 6962, so any verifier of it works.
Domain separation (0x00 before a leaf, 0x01 before a node) keeps a node from being passed off as a leaf.

Every `TILE_HEIGHT` levels a finished subtree's root is handed out to be stored. With these, the tree's edge
is rebuilt, and a root at any size found, from a few hundred stored hashes, however long the log.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32

#: Root of the tree without leaves: the hash of nothing.
EMPTY_ROOT = sha256(b"").digest()

#: Levels between stored subtree roots; 8 is the height of a tile in C2SP tlog-tiles.
TILE_HEIGHT = 8

#: Reads stored hashes: (level, index of the first, how many) -> that many hashes. Level 0 are the leaves; the
#: others are multiples of TILE_HEIGHT. Hash `index` of level `l` covers the leaves from index * 2^l on.
ReadHashes = Callable[[int, int, int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Node:
    """The root of a finished subtree of 2^level leaves, the `index`th of its level."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size and root of a tree: all there is to say about its content."""

    size: int
    root: bytes


def leaf_hash(data: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree that grows: the roots of its perfect subtrees, largest first.

    One hash for each bit set in `size`; appending touches a constant number of them on average.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Sequence[bytes] = ()) -> None:
        if len(edge) != size.bit_count():
            raise ValueError("A tree's edge has one hash for each bit set in its size.")
        self.size = size
        self._edge = list(edge)

    def copy(self) -> "Frontier":
        """An independent copy, so that a batch can be tried before it is committed."""
        return Frontier(self.size, self._edge)

    def extend(self, leaves: Sequence[bytes]) -> list[Node]:
        """Append leaf hashes in order; return the finished subtrees whose roots are to be stored."""
        nodes: list[Node] = []
        position, end = 0, len(leaves)
        while position < end:
            # The largest perfect subtree that may start here, in the tree and in what is left of the leaves.
            width = min(self.size & -self.size or end, 1 << (end - position).bit_length() - 1)
            self._push(perfect_root(leaves[position : position + width], self.size, nodes), width, nodes)
            position += width
        return nodes

    def _push(self, subtree: bytes, width: int, nodes: list[Node]) -> None:
        """Add a perfect subtree of `width` leaves and merge it with its equals on the left."""
        level = width.bit_length() - 1
        start = self.size
        self.size += width
        while start & 1 << level:
            subtree = node_hash(self._edge.pop(), subtree)
            start -= 1 << level
            level += 1
            if level % TILE_HEIGHT == 0:
                nodes.append(Node(level, start >> level, subtree))
        self._edge.append(subtree)

    def root(self) -> bytes:
        """The tree's root (RFC 6962 section 2.1), folded from the right edge."""
        if not self._edge:
            return EMPTY_ROOT
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = node_hash(left, root)
        return root

    def head(self) -> TreeHead:
        """Size and root together."""
        return TreeHead(self.size, self.root())


def perfect_root(hashes: Sequence[bytes], first_leaf: int = 0, nodes: list[Node] | None = None) -> bytes:
    """The root over a power of two of leaf hashes, level by level.

    Args:
        hashes: 2^k leaf hashes, k >= 0.
        first_leaf: number of the first leaf in the whole tree, to name the finished subtrees.
        nodes: receives those subtrees whose roots are to be stored.
    """
    level = 0
    while len(hashes) > 1:
        # Written out, not calling node_hash: this line is most of a verification's time.
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in _pairs(hashes)]
        level += 1
        if nodes is not None and level % TILE_HEIGHT == 0:
            index = first_leaf >> level
            nodes.extend(Node(level, index + offset, each) for offset, each in enumerate(hashes))
    return hashes[0]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes that are all at hand."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def frontier_at(size: int, read: ReadHashes) -> Frontier:
    """Rebuild the edge of the tree of the first `size` leaves from stored hashes.

    Reads fewer than 2^TILE_HEIGHT hashes for each stored level.
    """
    edge: list[bytes] = []
    start = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size & 1 << level:
            stored = level - level % TILE_HEIGHT
            edge.append(perfect_root(read(stored, start >> stored, 1 << level - stored)))
            start += 1 << level
    return Frontier(size, edge)


def _pairs(hashes: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Neighbours two by two; the caller has an even number of them."""
    each = iter(hashes)
    return zip(each, each, strict=True)
