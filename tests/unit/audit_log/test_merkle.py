from collections.abc import Sequence
from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log.merkle import (
    EMPTY_ROOT,
    TILE_HEIGHT,
    Frontier,
    Node,
    TreeHead,
    frontier_at,
    leaf_hash,
    node_hash,
    root_of,
)


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as the text defines it."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(b"record %d" % number) for number in range(count)]


def test_roots_up_to_256_leaves_are_those_of_the_definition_and_of_pymerkle() -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    grown = Frontier()
    assert grown.head() == TreeHead(0, EMPTY_ROOT)
    for count in range(1, 257):
        tree.append_entry(b"record %d" % (count - 1))
        leaves = leaves_of(count)
        grown.extend(leaves[-1:])
        assert root_of(leaves) == defined_root(leaves) == tree.get_root() == grown.root()


def test_known_vectors_of_certificate_transparency_hold() -> None:
    # From the tests of google/certificate-transparency: the root over its eight inputs.
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    root = root_of([leaf_hash(bytes.fromhex(each)) for each in inputs])
    assert root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_a_node_cannot_be_passed_off_as_a_leaf() -> None:
    left, right = leaves_of(2)
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.lists(st.integers(0, 600), max_size=6))
def test_growing_by_batches_of_any_size_gives_the_same_tree_and_nodes(sizes: list[int]) -> None:
    leaves = leaves_of(sum(sizes))
    grown, at_once = Frontier(), Frontier()
    nodes: list[Node] = []
    start = 0
    for size in sizes:
        nodes += grown.extend(leaves[start : start + size])
        start += size
    assert sorted(nodes, key=lambda node: (node.level, node.index)) == sorted(
        at_once.extend(leaves), key=lambda node: (node.level, node.index)
    )
    assert grown.head() == at_once.head() == TreeHead(len(leaves), defined_root(leaves))


def test_every_finished_subtree_of_whole_tiles_is_handed_out_once_with_its_root() -> None:
    leaves = leaves_of(2 * 65536 + 300)
    nodes = Frontier().extend(leaves)
    low = [node for node in nodes if node.level == TILE_HEIGHT]
    high = [node for node in nodes if node.level == 2 * TILE_HEIGHT]
    assert sorted(node.index for node in low) == list(range(513))
    assert sorted(node.index for node in high) == [0, 1]
    assert len(nodes) == 515
    assert {node.index: node.hash for node in low}[512] == defined_root(leaves[512 * 256 : 513 * 256])
    assert {node.index: node.hash for node in high}[1] == defined_root(leaves[65536 : 2 * 65536])


class Stored:
    """Hashes as a store keeps them, counting what is read."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.read_hashes = 0
        self._levels: dict[tuple[int, int], bytes] = {(0, index): leaf for index, leaf in enumerate(leaves)}
        self._levels |= {(node.level, node.index): node.hash for node in Frontier().extend(leaves)}

    def read(self, level: int, first: int, count: int) -> list[bytes]:
        self.read_hashes += count
        return [self._levels[level, index] for index in range(first, first + count)]


def test_the_tree_at_any_size_is_rebuilt_from_few_stored_hashes() -> None:
    leaves = leaves_of(70_000)
    stored = Stored(leaves)
    for size in (0, 1, 2, 255, 256, 257, 511, 512, 65535, 65536, 65537, 69_999, 70_000):
        stored.read_hashes = 0
        rebuilt = frontier_at(size, stored.read)
        assert rebuilt.head() == TreeHead(size, root_of(leaves[:size]))
        assert stored.read_hashes <= 3 * 255


def test_a_rebuilt_tree_grows_like_one_that_was_never_put_away() -> None:
    leaves = leaves_of(1000)
    rebuilt = frontier_at(700, Stored(leaves).read)
    nodes = rebuilt.extend(leaves[700:])
    assert rebuilt.head() == TreeHead(1000, root_of(leaves))
    assert [(node.level, node.index) for node in nodes] == [(TILE_HEIGHT, 2)]


def test_a_copy_grows_by_itself() -> None:
    original = Frontier()
    original.extend(leaves_of(5))
    copy = original.copy()
    copy.extend(leaves_of(3))
    assert original.head() == TreeHead(5, root_of(leaves_of(5)))


def test_an_edge_that_does_not_fit_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="one hash for each bit"):
        Frontier(3, leaves_of(1))
