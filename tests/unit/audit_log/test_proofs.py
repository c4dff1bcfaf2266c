"""Proofs against the definition of RFC 6962, what they cost at ten million records, and that every mutation is refused.

Go's own packages make and check all proofs up to 256 records in tests/contract/test_c2sp.py.
"""

import itertools
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import ProofInvalid
from audit.log.merkle import EMPTY_ROOT, Frontier, TreeHead, leaf_hash, node_hash, root_of
from audit.log.proofs import StoredTree, verify_consistency, verify_inclusion

COUNT = 256
TEN_MILLION = 10_000_000


@cache
def leaves() -> list[bytes]:
    return [leaf_hash(b"record %d" % number) for number in range(COUNT)]


@cache
def stored() -> dict[tuple[int, int], bytes]:
    hashes = {(0, index): leaf for index, leaf in enumerate(leaves())}
    return hashes | {(node.level, node.index): node.hash for node in Frontier().extend(leaves())}


def read(level: int, first: int, count: int) -> list[bytes]:
    return [stored()[level, index] for index in range(first, first + count)]


@cache
def head(size: int) -> TreeHead:
    return TreeHead(size, root_of(leaves()[:size]))


@cache
def trees() -> list[StoredTree]:
    return [StoredTree(size, read) for size in range(COUNT + 1)]


#: The contract test has all sizes; here are those at which the tree changes its form.
FORMS = (*range(1, 41), 63, 64, 65, 127, 128, 129, 255, 256)


def test_every_record_is_proved_under_the_root_of_the_definition() -> None:
    for size in FORMS:
        for index in range(size):
            verify_inclusion(leaves()[index], index, head(size), trees()[size].inclusion(index))


def test_every_older_tree_is_proved_under_the_roots_of_the_definition() -> None:
    for size in (0, *FORMS):
        for old in range(size + 1):
            verify_consistency(head(old), head(size), trees()[size].consistency(old))


def test_pymerkle_makes_the_same_inclusion_proofs() -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for number in range(70):
        tree.append_entry(b"record %d" % number)
    for size, index in itertools.product((1, 2, 33, 64, 70), range(70)):
        if index < size:
            theirs = list(tree.prove_inclusion(index + 1, size).path)
            assert theirs == [leaves()[index], *trees()[size].inclusion(index)]


def mutations(proof: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Every proof with one bit of each byte changed, a hash left out, doubled, put in, or two exchanged."""
    for position, each in enumerate(proof):
        for byte in range(len(each)):
            changed = bytearray(each)
            changed[byte] ^= 1 << byte % 8
            yield [*proof[:position], bytes(changed), *proof[position + 1 :]]
        yield [*proof[:position], *proof[position + 1 :]]
        yield [*proof[: position + 1], *proof[position:]]
        yield [*proof[:position], each[:-1], *proof[position + 1 :]]
        for other in range(position):
            swapped = list(proof)
            swapped[position], swapped[other] = swapped[other], swapped[position]
            yield swapped
    for stranger in (bytes(32), leaves()[0]):
        yield [stranger, *proof]
        yield [*proof, stranger]


SIZES = (1, 2, 3, 7, 8, 100, 129, 255, 256)


@pytest.mark.parametrize("size", SIZES)
def test_every_mutated_inclusion_proof_is_refused(size: int) -> None:
    for index in sorted({0, size // 3, size // 2, size - 1}):
        for changed in mutations(trees()[size].inclusion(index)):
            with pytest.raises(ProofInvalid):
                verify_inclusion(leaves()[index], index, head(size), changed)


@pytest.mark.parametrize("size", SIZES)
def test_every_mutated_consistency_proof_is_refused(size: int) -> None:
    for old in sorted({0, 1, size // 3, size // 2, size - 1, size}):
        for changed in mutations(trees()[size].consistency(old)):
            with pytest.raises(ProofInvalid):
                verify_consistency(head(old), head(size), changed)


@given(st.data())
def test_no_proof_serves_another_record_another_place_or_another_root(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, COUNT))
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda place: place != index))
    path = trees()[size].inclusion(index)
    for leaf, place, tree in (
        (leaves()[other], index, head(size)),
        (leaves()[index], other, head(size)),
        (leaves()[index], index, TreeHead(size, head(size - 1).root)),
        (leaves()[index], size, head(size)),
        (leaves()[index], -1, head(size)),
    ):
        with pytest.raises(ProofInvalid):
            verify_inclusion(leaf, place, tree, path)


@given(st.data())
def test_no_fork_is_passed_off_as_growth(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, COUNT))
    old = data.draw(st.integers(1, size))
    changed = data.draw(st.integers(0, old - 1))
    forked = [*leaves()[:changed], leaf_hash(b"another"), *leaves()[changed + 1 : old]]
    proof = trees()[size].consistency(old)
    for earlier, later in (
        (TreeHead(old, root_of(forked)), head(size)),
        (head(old), TreeHead(size, root_of([*forked, *leaves()[old:size]]))),
        (head(old), TreeHead(old - 1, head(old - 1).root)),
    ):
        with pytest.raises(ProofInvalid):
            verify_consistency(earlier, later, proof)


def test_an_empty_tree_is_extended_by_every_tree_and_only_with_its_own_root() -> None:
    verify_consistency(TreeHead(0, EMPTY_ROOT), head(5), [])
    with pytest.raises(ProofInvalid):
        verify_consistency(TreeHead(0, head(1).root), head(5), [])
    assert trees()[0].root() == EMPTY_ROOT


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_a_record_that_is_not_there_cannot_be_proved(index: int) -> None:
    with pytest.raises(ProofInvalid):
        trees()[5].inclusion(index)


def test_a_tree_cannot_extend_a_larger_one() -> None:
    with pytest.raises(ProofInvalid):
        trees()[5].consistency(6)


class TenMillion:
    """Stored hashes of a log of ten million records that are all alike, so that every subtree of a level is."""

    def __init__(self) -> None:
        self.reads: list[int] = []
        self._levels = [leaf_hash(b"the same")]
        while len(self._levels) < 25:
            self._levels.append(node_hash(self._levels[-1], self._levels[-1]))

    def read(self, level: int, first: int, count: int) -> list[bytes]:
        assert level % 8 == 0
        assert (first + count) << level <= TEN_MILLION
        self.reads.append(count)
        return [self._levels[level]] * count


@pytest.mark.parametrize("index", [0, 1, 255, 256, 4_999_999, 8_388_607, 8_388_608, TEN_MILLION - 1])
def test_an_inclusion_proof_at_ten_million_records_costs_six_reads_of_a_tile(index: int) -> None:
    log = TenMillion()
    tree = StoredTree(TEN_MILLION, log.read)
    path = tree.inclusion(index)
    assert len(log.reads) <= 6
    assert max(log.reads) <= 256
    verify_inclusion(leaf_hash(b"the same"), index, TreeHead(TEN_MILLION, tree.root()), path)
    # 45 bytes a line; the rest of 2 KiB is for a checkpoint with witnesses' signatures.
    assert len(path) * 45 <= 1080


@pytest.mark.parametrize("old", [1, 256, 4_999_999, 8_388_608, TEN_MILLION - 1])
def test_a_consistency_proof_at_ten_million_records_costs_nine_reads_of_a_tile(old: int) -> None:
    log = TenMillion()
    tree = StoredTree(TEN_MILLION, log.read)
    proof = tree.consistency(old)
    assert len(log.reads) <= 9
    older = StoredTree(old, TenMillion().read).root()
    verify_consistency(TreeHead(old, older), TreeHead(TEN_MILLION, tree.root()), proof)


def test_no_tile_is_read_twice() -> None:
    asked: list[tuple[int, int]] = []

    def count(level: int, first: int, number: int) -> list[bytes]:
        asked.append((level, first))
        return read(level, first, number)

    tree = StoredTree(COUNT, count)
    for index in range(COUNT):
        tree.inclusion(index)
    assert len(asked) == len(set(asked))


def test_a_known_vector_of_certificate_transparency_is_proved() -> None:
    # RFC 6962's tree of eight inputs, and the audit path of its seventh leaf written out by hand.
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
    hashes = [leaf_hash(bytes.fromhex(each)) for each in inputs]
    pair = sha256(b"\x01" + hashes[4] + hashes[5]).digest()
    left = root_of(hashes[:4])
    tree = StoredTree(8, lambda _level, first, count: hashes[first : first + count])
    assert tree.inclusion(6) == [hashes[7], pair, left]
