"""Inclusion and consistency proofs of RFC 6962 section 2.1: made from few stored hashes, checked from none.

Making reads whole tiles: for each stored level the tile on the way to the leaf and the one at the tree's right
edge, so six reads at 10 million records. Checking is pure: a proof, sizes and roots, nothing else; it follows RFC
9162, sections 2.1.3.2 and 2.1.4.2, step by step, and raises when a proof does not hold.
"""

from collections.abc import Sequence

from audit.errors import ProofInvalid
from audit.log.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    TILE_HEIGHT,
    ReadHashes,
    TreeHead,
    node_hash,
    perfect_root,
)

#: Hashes of a whole tile.
TILE_WIDTH = 1 << TILE_HEIGHT

#: Longest proof of a tree whose size fits 63 bits: no verifier need read more.
MAX_PROOF_HASHES = 64


class StoredTree:
    """The tree of the first `size` leaves of a log, looked at through its stored hashes.

    Args:
        size: number of leaves.
        read: reads stored hashes; asked for at most one tile at a time, and for no tile twice.
    """

    def __init__(self, size: int, read: ReadHashes) -> None:
        self.size = size
        self._read = read
        self._tiles: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self) -> bytes:
        """The tree's root."""
        return self._range_root(0, self.size) if self.size else EMPTY_ROOT

    def inclusion(self, index: int) -> list[bytes]:
        """Prove that leaf `index` is in the tree: PATH(m, D[n]) of RFC 6962 section 2.1.1, the leaf's end first.

        Raises:
            ProofInvalid: the tree has no such leaf.
        """
        if not 0 <= index < self.size:
            raise ProofInvalid(f"There is no record {index} among the first {self.size}.")
        path: list[bytes] = []
        first, end = 0, self.size
        while end - first > 1:
            middle = first + _left_width(end - first)
            if index < middle:
                path.append(self._range_root(middle, end))
                end = middle
            else:
                path.append(self._range_root(first, middle))
                first = middle
        path.reverse()
        return path

    def consistency(self, old_size: int) -> list[bytes]:
        """Prove that the tree extends that of the first `old_size` leaves: PROOF(m, D[n]), RFC 6962 section 2.1.2.

        Raises:
            ProofInvalid: the tree is smaller than that.
        """
        if not 0 <= old_size <= self.size:
            raise ProofInvalid(f"The log has {self.size} records, and so cannot extend one of {old_size}.")
        if old_size in {0, self.size}:
            return []
        proof: list[bytes] = []
        first, end = 0, self.size
        while end != old_size:
            middle = first + _left_width(end - first)
            if old_size <= middle:
                proof.append(self._range_root(middle, end))
                end = middle
            else:
                proof.append(self._range_root(first, middle))
                first = middle
        if first:
            # The verifier knows the old root only where the old tree is a whole left part.
            proof.append(self._range_root(first, end))
        proof.reverse()
        return proof

    def _range_root(self, first: int, end: int) -> bytes:
        """MTH(D[first:end]); `first` starts a subtree that is at least as wide."""
        parts: list[bytes] = []
        for level in range((end - first).bit_length() - 1, -1, -1):
            if end - first & 1 << level:
                parts.append(self._subtree(level, first >> level))
                first += 1 << level
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root

    def _subtree(self, level: int, index: int) -> bytes:
        """The root of a finished subtree, from the hashes of the tile that holds its top."""
        stored = level - level % TILE_HEIGHT
        width = 1 << level - stored
        tile, offset = divmod(index * width, TILE_WIDTH)
        return perfect_root(self._tile(stored, tile)[offset : offset + width])

    def _tile(self, level: int, number: int) -> Sequence[bytes]:
        tile = self._tiles.get((level, number))
        if tile is None:
            first = number * TILE_WIDTH
            tile = self._read(level, first, min(TILE_WIDTH, (self.size >> level) - first))
            self._tiles[level, number] = tile
        return tile


def verify_inclusion(leaf: bytes, index: int, head: TreeHead, path: Sequence[bytes]) -> None:
    """Check that a leaf is in a tree, as RFC 9162 section 2.1.3.2 says.

    Args:
        leaf: the leaf's hash.
        index: its place.
        head: size and root of the tree; believe them only from a signed checkpoint.
        path: the proof, the leaf's end first.

    Raises:
        ProofInvalid: it does not hold.
    """
    # 1. The place is in the tree.
    if not 0 <= index < head.size:
        raise ProofInvalid(f"The tree of {head.size} records has no record {index}.")
    # 2. and 3. Walk from the leaf up, beside the walk of the last leaf.
    place, last, root = index, head.size - 1, leaf
    for sibling in _hashes(path):
        # 4. a. The path is longer than the tree is high.
        if last == 0:
            raise ProofInvalid("The inclusion proof is too long for the tree.")
        # 4. b. and c. The sibling stands on the left, or on the right.
        if place & 1 or place == last:
            root = node_hash(sibling, root)
            while place and not place & 1:
                # The last node of a level without a partner moves up as it is.
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        place, last = place >> 1, last >> 1
    # 5. The walk has reached the top, and it is the root.
    if last:
        raise ProofInvalid("The inclusion proof is too short for the tree.")
    if root != head.root:
        raise ProofInvalid("The inclusion proof does not lead to the signed root.")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """Check that a tree extends an older one, as RFC 9162 section 2.1.4.2 says.

    Args:
        old: size and root of the older tree.
        new: those of the newer one; believe either only from a signed checkpoint.
        proof: the proof.

    Raises:
        ProofInvalid: it does not hold: the log was cut, changed or forked between the two.
    """
    hashes = _hashes(proof)
    if not 0 <= old.size <= new.size:
        raise ProofInvalid(f"A log of {new.size} records cannot extend one of {old.size}.")
    # Two trees for which the section has no proof: nothing to extend, and nothing added.
    if old.size in {0, new.size}:
        if hashes:
            raise ProofInvalid("The consistency proof is too long for the trees.")
        if old.root != (new.root if old.size else EMPTY_ROOT):
            raise ProofInvalid("The two checkpoints contradict each other.")
        return
    # 1. and 2. Where the older tree is a whole subtree, its root is where the walk begins.
    walk = [old.root, *hashes] if old.size & old.size - 1 == 0 else list(hashes)
    old_root, new_root = _both_roots(old.size - 1, new.size - 1, walk)
    if old_root != old.root:
        raise ProofInvalid("The log does not contain the older tree: records were changed, or it was forked.")
    if new_root != new.root:
        raise ProofInvalid("The consistency proof does not lead to the signed root.")


def _both_roots(place: int, last: int, walk: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Walk up from the older tree's last leaf, in both trees at once: steps 3 to 6 of RFC 9162 section 2.1.4.2."""
    if not walk:
        raise ProofInvalid("The consistency proof is too short for the trees.")
    # 3. Go up while the older tree's last leaf is on a right branch.
    while place & 1:
        place, last = place >> 1, last >> 1
    # 4. Both walks begin at the same subtree.
    old_root = new_root = walk[0]
    # 5. What stands on the left belongs to both trees, what stands on the right to the newer one.
    for sibling in walk[1:]:
        if last == 0:
            raise ProofInvalid("The consistency proof is too long for the trees.")
        if place & 1 or place == last:
            old_root, new_root = node_hash(sibling, old_root), node_hash(sibling, new_root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new_root = node_hash(new_root, sibling)
        place, last = place >> 1, last >> 1
    # 6. Both walks have reached the top.
    if last:
        raise ProofInvalid("The consistency proof is too short for the trees.")
    return old_root, new_root


def _left_width(width: int) -> int:
    """The largest power of two below `width`, at least 2: RFC 6962's k."""
    return 1 << (width - 1).bit_length() - 1


def _hashes(untrusted: Sequence[bytes]) -> Sequence[bytes]:
    if len(untrusted) > MAX_PROOF_HASHES or any(len(each) != HASH_BYTES for each in untrusted):
        raise ProofInvalid("The proof holds something that is not a hash, or more hashes than any proof.")
    return untrusted
