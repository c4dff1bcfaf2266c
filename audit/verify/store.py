"""Verifying the log where it lives, with a database connection of its own that cannot write.

It reads the tables by itself, not through the store: a defect there must not hide behind itself here. One read
transaction sees one state of the log, however long it takes.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from re import Match
from typing import Any

from audit.errors import NotAnExport, NoteInvalid, VerificationImpossible
from audit.log.bundle_files import bundle_digest
from audit.log.checkpoint import Checkpoint
from audit.log.epochs import EpochChain
from audit.log.merkle import Frontier, Node, TreeHead
from audit.log.note import VerifierKey
from audit.verify.authenticity import check_checkpoint, check_demands, check_key
from audit.verify.chain import Chain, Examine
from audit.verify.epochs import EpochCheck
from audit.verify.meaning import Meaning
from audit.verify.report import BadRecord, Findings, FirstBad, Progress, Report
from audit.verify.trust import Trust

KIND = "log-store"

_ROWS = 1000

_WALK = """
SELECT leaf.seq, leaf.hash, body.bytes,
       entry.id, entry.kind, entry.at, entry.principal, entry.action, entry.resource, entry.decision
FROM leaf LEFT JOIN body USING (seq) LEFT JOIN entry USING (seq) ORDER BY leaf.seq
"""

_EPOCHS = "SELECT bytes FROM entry JOIN body USING (seq) WHERE action = 'log.epoch' ORDER BY seq"

_HAS_COSIGNATURES = (
    "SELECT 1 FROM sqlite_master WHERE name = 'cosignature'"  # a log that no daemon opened lately has none
)

_INDEXED = ("id", "kind", "at", "principal", "action", "resource", "decision")


def verify_store(
    path: Path, trust: Trust | None = None, *, fields: bool = True, progress: Progress | None = None
) -> Report:
    """Verify a log's database, also while its daemon runs.

    Args:
        path: the database.
        trust: what must be present. Without it the key in the database is used, and the report says so.
        fields: also read each record's fields, and compare the search columns with them.
        progress: told how many records are verified so far, of how many.

    Raises:
        VerificationFailed: something does not hold; it carries the report and names the first bad record.
        NotAnExport: there is no log's database at this path.
        VerificationImpossible: it could not be read to its end.
    """
    if not path.is_file():
        raise NotAnExport("There is no log's database with this name.", "Give the path of log.db.")
    findings = Findings(KIND)
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            _Verification(connection, trust or Trust(), findings).run(progress, fields=fields)
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith("SQLITE_CORRUPT"):
            findings.fail("database", "database.corrupt", "The database's own structure is damaged.")
        elif name == "SQLITE_NOTADB" or "no such table" in str(error):
            raise NotAnExport("The file is not a log's database.", "Give the path of log.db.") from error
        else:
            raise VerificationImpossible(
                f"The database cannot be read ({name}).", "Look at its disk."
            ) from error
    except OSError as error:
        raise VerificationImpossible(
            f"The verification could not go on: {error.strerror}.", "Look at the disk, and try again."
        ) from error
    return findings.conclude()


class _Verification:
    def __init__(self, connection: sqlite3.Connection, trust: Trust, findings: Findings) -> None:
        self._connection = connection
        self._trust = trust
        self._findings = findings
        self._columns: dict[int, tuple[object, ...]] = {}
        self._stale: int | None = None
        self._tree = Frontier()
        self._bad_node: Node | None = None

    def run(self, progress: Progress | None, *, fields: bool) -> None:
        """Make all checks."""
        findings = self._findings
        # 1. The key, and whether anybody but the database vouches for it.
        vkey = self._value("SELECT value FROM meta WHERE name = 'vkey'")
        key = check_key(findings, self._trust, vkey.encode() if isinstance(vkey, str) else None)
        # 2. The epochs' keys follow from it; it and the present epoch's signed a checkpoint of the right log.
        epochs = EpochCheck(findings, self._trust, key)
        epochs.follow(bytes(data) for rows in self._blocks(_EPOCHS) for (data,) in rows)
        note = self._value("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
        note = note if isinstance(note, bytes) else None
        signed = self._checkpoint(note, key, epochs.chain)
        # 3. Bundles by their recomputed digests.
        bundles = self._bundles()
        # 4. Records: bytes, links, numbers, meaning; and the tree they make is the signed one.
        with Meaning(bundles) as meaning:
            chain = Chain(
                self._examining(meaning) if fields else None,
                signed.size if signed else None,
                epochs.marks,
                epochs.at_mark,
            )
            whole = self._read_records(chain, signed, progress)
            findings.records = chain.size
            epochs.conclude(chain.size, listed=meaning.epoch_records if fields and whole else None)
            # 5. Across the records: ids, outcomes, inputs, bundles, clock.
            if fields:
                self._compare(meaning, chain.size, whole=whole)
            else:
                findings.hold("fields", "NOT READ, as asked for: ids, outcomes, policies and their inputs.")
        # 6. What is derived from the records agrees with them.
        self._report_derived(fields=fields)
        # 7. What the trust file demands is here.
        check_demands(findings, self._trust, self._cosigned(key) or note)

    def _checkpoint(
        self, note: bytes | None, key: VerifierKey | None, epochs: EpochChain | None
    ) -> TreeHead | None:
        if note is None and not self._size():
            self._findings.hold("checkpoint", "The log is empty, so there is nothing to sign.")
            return None
        return check_checkpoint(self._findings, self._trust, key, note, epochs)

    def _cosigned(self, key: VerifierKey | None) -> bytes | None:
        """The largest checkpoint that enough trusted witnesses cosigned, if it is of the records that are here.

        Witnesses answer behind a log that grows, so its newest checkpoint is seldom theirs yet.
        """
        known = [str(each) for each in self._trust.witnesses]
        if key is None or not known or not self._value(_HAS_COSIGNATURES):
            return None
        places = ", ".join("?" * len(known))
        size = self._value(
            f"SELECT size FROM cosignature WHERE witness IN ({places}) GROUP BY size "  # noqa: S608 - places only
            "HAVING COUNT(DISTINCT witness) >= ? ORDER BY size DESC LIMIT 1",
            *known,
            self._trust.quorum,
        )
        note = self._value("SELECT note FROM checkpoint WHERE size = ?", size)
        if not isinstance(note, bytes):
            return None
        tree = Frontier()
        with closing(
            self._connection.execute("SELECT hash FROM leaf WHERE seq < ? ORDER BY seq", (size,))
        ) as rows:
            while leaves := rows.fetchmany(_ROWS):
                # The walk has compared each stored leaf with its record; here it is only gone through to the end.
                for _ in tree.extend([leaf for (leaf,) in leaves]):
                    pass
        try:
            signed = Checkpoint.verify(note, [key]).head
        except NoteInvalid:
            signed = None
        if signed != TreeHead(tree.size, tree.root()):
            self._findings.fail(
                "witnesses",
                "witness.other_tree",
                f"The {size} records that were witnessed are not those here.",
            )
            return None
        lines = self._connection.execute("SELECT line FROM cosignature WHERE size = ?", (size,)).fetchall()
        return note + "".join(line for (line,) in lines).encode()

    def _bundles(self) -> set[str]:
        files: dict[str, dict[str, bytes]] = {}
        for digest, name, data in self._connection.execute("SELECT digest, name, bytes FROM policies"):
            files.setdefault(str(digest), {})[str(name)] = bytes(data)
        good: set[str] = set()
        for digest, content in files.items():
            if bundle_digest(content) == digest:
                good.add(digest)
            else:
                sentence = f"The policy bundle {digest:.12} is not what its digest says."
                self._findings.fail("policies", "bundle.changed", sentence)
        return good

    def _examining(self, meaning: Meaning) -> Examine:
        def examine(seq: int, found: Match[bytes]) -> None:
            meaning.examine(seq, found)
            expected = tuple(value and value.decode() for value in found.group(*_INDEXED))
            if self._stale is None and self._columns.get(seq) != expected:
                self._stale = seq

        return examine

    def _read_records(self, chain: Chain, signed: TreeHead | None, progress: Progress | None) -> bool:
        """Feed the chain; tells whether it holds to the end."""
        findings = self._findings
        try:
            size = self._size()
            for rows in self._blocks(_WALK):
                self._feed(chain, rows)
                if progress is not None:
                    progress(chain.size, size)
            chain.finish(signed)
        except BadRecord as error:
            findings.fail_record("records", error)
            return False
        findings.hold("records", f"{chain.size} records are unchanged, in order and without a gap.")
        if signed is not None:
            later = chain.size - signed.size
            tail = f"; {later} records after them are not signed yet" if later else ""
            findings.hold("root", f"The first {signed.size} make the tree that was signed{tail}.")
        return True

    def _feed(self, chain: Chain, rows: list[tuple[Any, ...]]) -> None:
        for seq, row in enumerate(rows, chain.size):
            if row[0] != seq or row[2] is None:
                pruned = "; a pruning was recorded for it" if self._is_pruned(seq) else ""
                bad = FirstBad(seq, None, "record.missing")
                raise BadRecord(bad, f"Record {seq} is missing from the database{pruned}.")
        first = chain.size
        self._columns = {row[0]: row[3:] for row in rows}
        leaves = chain.feed([row[2] for row in rows])
        for seq, (leaf, row) in enumerate(zip(leaves, rows, strict=False), first):
            if leaf != row[1]:
                # A successor that was read vouches for the bytes; without one, either may have been changed.
                code = "leaf.changed" if seq < chain.size - 1 else "record.changed"
                raise BadRecord(
                    FirstBad(seq, row[3], code), f"Record {seq} is not what its leaf hash is over."
                )
        for node in self._tree.extend(leaves):
            stored = self._value("SELECT hash FROM node WHERE level = ? AND idx = ?", node.level, node.index)
            if stored != node.hash and self._bad_node is None:
                self._bad_node = node

    def _compare(self, meaning: Meaning, size: int, *, whole: bool) -> None:
        findings = self._findings
        try:
            meaning.check_ids(size)
            findings.hold("ids", "No id occurs twice.")
        except BadRecord as error:
            findings.fail_record("ids", error)
        if not whole:
            return
        try:
            count = meaning.check_inputs(self._inputs())
            findings.hold("inputs", f"{count} policy inputs are here and have their digests.")
        except BadRecord as error:
            findings.fail_record("inputs", error)
        except LookupError:
            findings.fail("inputs", "inputs.unnamed", "There are policy inputs that no record names.")
        meaning.report(findings, all_named=False)

    def _inputs(self) -> Iterator[bytes]:
        """Digests of the stored inputs that have their digest, in rising order."""
        for rows in self._blocks("SELECT digest, bytes FROM inputs ORDER BY digest"):
            for digest, data in rows:
                if sha256(data).hexdigest() == digest:
                    yield bytes.fromhex(digest)

    def _report_derived(self, *, fields: bool) -> None:
        if self._bad_node is not None:
            sentence = "A stored node of the tree is not the hash of its leaves."
            self._findings.fail("tree", "node.changed", sentence)
        else:
            self._findings.hold("tree", "The stored nodes of the tree are the hashes of their leaves.")
        if self._stale is not None:
            sentence = f"The search columns say something else than record {self._stale} itself."
            self._findings.fail("index", "index.changed", sentence)
        elif fields:
            self._findings.hold("index", "The search columns say what the records say.")

    def _size(self) -> int:
        last = self._value("SELECT MAX(seq) FROM leaf")
        return last + 1 if isinstance(last, int) else 0

    def _is_pruned(self, seq: int) -> bool:
        return self._value("SELECT 1 FROM pruning WHERE ? BETWEEN first_seq AND last_seq", seq) is not None

    def _blocks(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        with closing(self._connection.execute(query)) as cursor:
            while rows := cursor.fetchmany(_ROWS):
                yield rows

    def _value(self, query: str, *values: object) -> object:
        with closing(self._connection.execute(query, values)) as cursor:
            row = cursor.fetchone()
        return None if row is None else row[0]
