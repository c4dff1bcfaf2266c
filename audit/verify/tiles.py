"""Verifying a folder of C2SP tlog-tiles: every entry, every tile of hashes, and the root that was signed."""

import tarfile
from collections.abc import Iterable
from pathlib import Path
from re import Match

from audit.errors import VerificationImpossible
from audit.log.epochs import ACTION as EPOCH_ACTION
from audit.log.merkle import TreeHead, leaf_hash
from audit.log.proofs import TILE_WIDTH
from audit.log.tile_layout import ENTRY_LENGTH_BYTES, MAX_ENTRY_BYTES, Tiling, entries_path
from audit.verify.authenticity import check_checkpoint, check_demands, check_key
from audit.verify.chain import Chain, at_each
from audit.verify.epochs import EpochCheck
from audit.verify.files import Damaged, ExportFiles, open_tiles
from audit.verify.noted import NotedTree, check_noted
from audit.verify.report import BadRecord, Findings, FirstBad, Progress, Report
from audit.verify.trust import Trust

KIND = "log-tiles"

_MAX_BUNDLE_BYTES = TILE_WIDTH * (ENTRY_LENGTH_BYTES + MAX_ENTRY_BYTES)
_MAX_SMALL_BYTES = 1 << 20
_MAX_EPOCHS_BYTES = 1 << 28  # a change of keys each hour for a lifetime


def verify_tiles(
    path: Path,
    trust: Trust | None = None,
    *,
    noted: bytes | None = None,
    fields: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Verify a tlog-tiles folder.

    Args:
        path: the folder, or a tar of it.
        trust: what must be present. Without it the key beside the tiles is used, and the report says so.
        noted: a checkpoint that the verifier kept from earlier, which the log must extend.
        fields: also check that each entry has a record's form and number.
        progress: told how many records are verified so far, of how many.

    Raises:
        VerificationFailed: something does not hold; it carries the report and names the first bad record.
        NotAnExport: there are no tiles at this path.
        VerificationImpossible: it could not be read to its end.
    """
    findings = Findings(KIND)
    try:
        with open_tiles(path) as files:
            _Verification(files, trust or Trust(), findings).run(progress, noted, fields=fields)
    except (Damaged, tarfile.TarError):
        findings.fail("files", "export.truncated", "The tar ends before its files do.")
    except OSError as error:
        raise VerificationImpossible(
            f"The verification could not go on: {error.strerror}.", "Look at the disk, and try again."
        ) from error
    return findings.conclude()


class _Verification:
    def __init__(self, files: ExportFiles, trust: Trust, findings: Findings) -> None:
        self._files = files
        self._trust = trust
        self._findings = findings
        self._looked_at = {"checkpoint", "log.vkey", "epochs.jsonl"}
        self._bad_tile: str | None = None

    def run(self, progress: Progress | None, noted: bytes | None, *, fields: bool) -> None:
        """Make all checks."""
        findings = self._findings
        # 1. The key: the trusted one, whether or not one lies beside the tiles.
        vkey = self._read("log.vkey", _MAX_SMALL_BYTES)
        if vkey is None and self._trust.log_vkey is not None:
            key = self._trust.log_vkey
            findings.hold("key", f"The key is the trusted one: {key}.")
        else:
            found = check_key(findings, self._trust, None if vkey is None else vkey.removesuffix(b"\n"))
            if found is None:
                return
            key = found
        # 2. The epochs' keys follow from it; it and the present epoch's signed a checkpoint of the right log, which
        #    says what tiles there must be.
        epochs = EpochCheck(findings, self._trust, key)
        epochs.follow((self._read("epochs.jsonl", _MAX_EPOCHS_BYTES) or b"").splitlines())
        note = self._read("checkpoint", _MAX_SMALL_BYTES)
        signed = check_checkpoint(findings, self._trust, key, note, epochs.chain)
        earlier = NotedTree(
            None if noted is None else check_noted(findings, self._trust, key, noted, epochs.chain)
        )
        # 3. Entries: links, numbers; tiles of hashes: each is what its entries hash to; root: it is the signed one.
        if signed is not None:
            listed = self._check_tree(signed, epochs, earlier, progress, fields=fields)
            epochs.conclude(findings.records, listed=listed)
        # 4. What the trust file demands is here.
        check_demands(findings, self._trust, note)

    def _check_tree(
        self,
        signed: TreeHead,
        epochs: EpochCheck,
        earlier: NotedTree,
        progress: Progress | None,
        *,
        fields: bool,
    ) -> int | None:
        """Check entries and tiles; returns how many records begin a key epoch, where all could be read."""
        findings = self._findings
        listed = 0

        def examine(_seq: int, found: Match[bytes]) -> None:
            nonlocal listed
            listed += found["action"] == EPOCH_ACTION.encode()

        chain = Chain(
            examine if fields else None,
            signed.size,
            sorted({*epochs.marks, *earlier.marks}),
            at_each(epochs.at_mark, earlier.at_mark),
        )
        tiling = Tiling()
        try:
            for number in range(-(-signed.size // TILE_WIDTH)):
                records = self._entries(number, min(TILE_WIDTH, signed.size - number * TILE_WIDTH))
                chain.feed(records)
                self._compare(tiling.extend([leaf_hash(record) for record in records]))
                if progress is not None:
                    progress(chain.size, signed.size)
            self._compare(tiling.rest())
            chain.finish(signed)
        except BadRecord as error:
            findings.records = chain.size
            findings.fail_record("records", error)
            return None
        findings.records = chain.size
        findings.hold("records", f"{chain.size} records are unchanged, in order and without a gap.")
        if self._bad_tile is not None:
            findings.fail("tiles", "tile.changed", self._bad_tile)
        else:
            others = len([name for name in self._files.names if name not in self._looked_at])
            aside = f" Not part of it, and not looked at: {others} files." if others else ""
            findings.hold("tiles", f"Every tile holds the hashes of its records.{aside}")
        findings.hold("root", "They make the tree that was signed.")
        earlier.conclude(findings)
        return listed if fields else None

    def _entries(self, number: int, width: int) -> list[bytes]:
        """The entries of a bundle.

        Raises:
            BadRecord: there are fewer or more than there must be.
        """
        first = number * TILE_WIDTH
        bundle = self._read(entries_path(number, width), _MAX_BUNDLE_BYTES)
        if bundle is None:
            raise BadRecord(
                FirstBad(first, None, "record.missing"),
                f"Record {first} is missing: there is no {entries_path(number, width)}.",
            )
        records: list[bytes] = []
        position = 0
        while position < len(bundle):
            begin = position + ENTRY_LENGTH_BYTES
            position = begin + int.from_bytes(bundle[begin - ENTRY_LENGTH_BYTES : begin])
            records.append(bundle[begin:position])
        if position != len(bundle) or len(records) != width:
            seq = first + min(len(records) - (position != len(bundle)), width)
            raise BadRecord(
                FirstBad(seq, None, "record.missing"),
                f"Record {seq} is missing: its bundle has other entries than its name says.",
            )
        return records

    def _compare(self, expected: Iterable[tuple[str, bytes]]) -> None:
        for path, data in expected:
            if self._read(path, len(data)) != data and self._bad_tile is None:
                there = "is not what its records hash to" if path in self._files.names else "is missing"
                self._bad_tile = f"The tile {path} {there}."

    def _read(self, name: str, limit_bytes: int) -> bytes | None:
        """A file as a whole; None when it is missing, nothing when it is larger than it may be."""
        self._looked_at.add(name)
        if name not in self._files.names:
            return None
        with self._files.open(name) as file:
            data = file.read(limit_bytes + 1)
        return data if len(data) <= limit_bytes else b""
