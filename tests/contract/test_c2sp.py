"""What we sign, prove and lay out is accepted by Go's own packages, and what was changed is refused by them too."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from audit.log.merkle import Frontier, TreeHead, leaf_hash
from audit.log.proof_files import ConsistencyFile, InclusionFile
from audit.log.proofs import StoredTree, verify_consistency, verify_inclusion
from audit.log.query import LogQuery
from audit.log.tiles import export_tiles
from tests.contract.c2sp import GoVerifier
from tests.unit.audit_log.parts import LogHome, ordinary_history

RECORDS = 700


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> GoVerifier:
    return GoVerifier.build(tmp_path_factory.mktemp("go"))


@dataclass
class Written:
    home: LogHome
    early: Path  # a checkpoint of 300 records
    late: Path  # one of all


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("log")
    home = LogHome.create(folder)
    writer = home.open(checkpoint_after_s=3600)
    groups = list(ordinary_history(RECORDS))
    half = 300
    made = 0
    for group in groups:
        writer.append_all(group)
        made += len(group)
        if made == half:
            (folder / "early").write_bytes(writer.checkpoint())
    (folder / "late").write_bytes(writer.checkpoint())
    writer.close()
    return Written(home, folder / "early", folder / "late")


def every_proof(count: int) -> Iterator[str]:
    """As `verifier all` prints them; each is checked by our own verifier on the way."""
    leaves = [leaf_hash(b"record %d" % number) for number in range(count)]
    hashes = {(0, index): leaf for index, leaf in enumerate(leaves)}
    hashes |= {(node.level, node.index): node.hash for node in Frontier().extend(leaves)}
    heads = [TreeHead(0, b"")]
    for size in range(1, count + 1):
        tree = StoredTree(
            size, lambda level, first, number: [hashes[level, first + offset] for offset in range(number)]
        )
        heads.append(TreeHead(size, tree.root()))
        yield f"root {size} {size} {sha256(tree.root()).hexdigest()}"
        for index in range(size):
            path = tree.inclusion(index)
            verify_inclusion(leaves[index], index, heads[size], path)
            yield f"inclusion {index} {size} {sha256(b''.join(path)).hexdigest()}"
        for old in range(1, size + 1):
            path = tree.consistency(old)
            verify_consistency(heads[old], heads[size], path)
            yield f"consistency {old} {size} {sha256(b''.join(path)).hexdigest()}"


def test_every_proof_up_to_256_records_holds_and_is_the_one_that_go_makes(go: GoVerifier) -> None:
    code, said = go("all", "256")
    assert code == 0
    assert said.splitlines() == list(every_proof(256))


def test_go_accepts_our_checkpoint_and_refuses_it_with_another_size(
    go: GoVerifier, written: Written, tmp_path: Path
) -> None:
    vkey = written.home.key.vkey
    code, said = go("checkpoint", vkey, written.late)
    assert (code, said.split()[:2]) == (0, [written.home.origin, str(RECORDS)])
    changed = tmp_path / "changed"
    changed.write_bytes(written.late.read_bytes().replace(b"\n700\n", b"\n701\n"))
    assert go("checkpoint", vkey, changed)[0] == 7


def test_go_accepts_our_proof_of_each_record_and_refuses_another_record_under_it(
    go: GoVerifier, written: Written, tmp_path: Path
) -> None:
    vkey = written.home.key.vkey
    file = tmp_path / "record.tlog-proof"
    with LogQuery(written.home.path) as log:
        tree = StoredTree(RECORDS, log.hashes)
        for index in (0, 1, 255, 256, 300, 511, 512, RECORDS - 1):
            proof = InclusionFile(
                index, tuple(tree.inclusion(index)), written.late.read_bytes(), log.by_seq(index).bytes
            )
            file.write_bytes(bytes(proof))
            assert go("inclusion", vkey, file) == (0, "")
        file.write_bytes(bytes(proof).replace(b"extra ey", b"extra eY"))
    assert go("inclusion", vkey, file)[0] == 7


def test_go_accepts_our_proof_that_the_log_only_grew(
    go: GoVerifier, written: Written, tmp_path: Path
) -> None:
    vkey = written.home.key.vkey
    file = tmp_path / "growth"
    with LogQuery(written.home.path) as log:
        path = tuple(StoredTree(RECORDS, log.hashes).consistency(300))
    file.write_bytes(bytes(ConsistencyFile(300, path, written.late.read_bytes())))
    assert go("growth", vkey, written.early, file) == (0, "")
    file.write_bytes(bytes(ConsistencyFile(300, path[:-1], written.late.read_bytes())))
    assert go("growth", vkey, written.early, file)[0] == 7


def test_go_reads_our_tiles_and_every_entry_in_them(go: GoVerifier, written: Written, tmp_path: Path) -> None:
    export_tiles(written.home.path, tmp_path / "tiles")
    vkey = written.home.key.vkey
    assert go("tiles", vkey, tmp_path / "tiles") == (0, f"{RECORDS}\n")
    tile = tmp_path / "tiles/tile/0/001"
    data = bytearray(tile.read_bytes())
    data[77] ^= 1
    tile.write_bytes(data)
    assert go("tiles", vkey, tmp_path / "tiles")[0] == 7
