"""Verifying a log export, with nothing but its files and, better, a key got by another way."""

import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

from audit.errors import RecordInvalid, VerificationImpossible
from audit.log.bundle_files import bundle_digest
from audit.log.merkle import TreeHead
from audit.log.record import inputs_digest
from audit.verify.authenticity import check_checkpoint, check_demands, check_key
from audit.verify.chain import Chain, at_each
from audit.verify.epochs import EpochCheck
from audit.verify.files import REQUIRED, Damaged, ExportFiles, open_files
from audit.verify.lines import BadLine, Lines
from audit.verify.manifest import NAME as MANIFEST
from audit.verify.manifest import check_manifest
from audit.verify.meaning import Meaning
from audit.verify.noted import NotedTree, check_noted
from audit.verify.report import BadRecord, Findings, FirstBad, Progress, Report
from audit.verify.sorted_rows import SortedRows
from audit.verify.trust import Trust

KIND = "log-export"

#: Largest of the small files: keys, checkpoints, policies.
_MAX_SMALL_BYTES = 1 << 22


def verify_export(
    path: Path,
    trust: Trust | None = None,
    *,
    noted: bytes | None = None,
    fields: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Verify an export.

    Args:
        path: the folder or tar.
        trust: what must be present. Without it the key in the export is used, and the report says so.
        noted: a checkpoint that the verifier kept from earlier, which the log must extend.
        fields: also read each record's fields. Without, only bytes, links, root and signature are checked,
            several times faster.
        progress: told how many records are verified so far, of how many.

    Raises:
        VerificationFailed: something does not hold; it carries the report and names the first bad record.
        NotAnExport: there is no export at this path.
        VerificationImpossible: it could not be read to its end.
    """
    findings = Findings(KIND)
    try:
        with open_files(path) as files, ExitStack() as stack:
            _Verification(files, trust or Trust(), findings, stack).run(progress, noted, fields=fields)
    except (Damaged, tarfile.TarError):
        findings.fail("files", "export.truncated", "The tar ends before its files do.")
    except OSError as error:
        raise VerificationImpossible(
            f"The verification could not go on: {error.strerror}.", "Look at the disk, and try again."
        ) from error
    return findings.conclude()


class _Verification:
    def __init__(self, files: ExportFiles, trust: Trust, findings: Findings, stack: ExitStack) -> None:
        self._files = files
        self._trust = trust
        self._findings = findings
        self._stack = stack
        self._digests: dict[str, str] = {}

    def run(self, progress: Progress | None, noted: bytes | None, *, fields: bool) -> None:
        """Make all checks, in the order in which a person would believe them."""
        findings = self._findings
        # 1. Every file that an export has is here.
        missing = [name for name in REQUIRED if name not in self._files.names]
        if missing:
            findings.fail("files", "file.missing", f"The export has no {missing[0]}.")
        else:
            findings.hold("files", "Every file that an export has is here.")
        # 2. The key, and whether anybody but the export vouches for it.
        vkey = self._small("log.vkey")
        if vkey is not None:
            vkey = vkey[:-1] if vkey.endswith(b"\n") else b""
        key = check_key(findings, self._trust, vkey)
        # 3. The epochs' keys follow from it; it and the present epoch's signed a checkpoint of the right log.
        epochs = EpochCheck(findings, self._trust, key)
        self._follow(epochs)
        note = self._small("checkpoint")
        signed = check_checkpoint(findings, self._trust, key, note, epochs.chain)
        earlier = NotedTree(
            None if noted is None else check_noted(findings, self._trust, key, noted, epochs.chain)
        )
        # 4. Bundles and policy inputs by their recomputed digests.
        bundles = self._bundles()
        inputs = self._stack.enter_context(SortedRows(32))
        readable = True
        if fields:
            readable = self._read_inputs(inputs)
        else:
            findings.hold("fields", "NOT READ, as asked for: ids, outcomes, policies and their inputs.")
        # 5. Records: bytes, links, numbers, meaning; and the tree they make is the signed one.
        meaning = self._stack.enter_context(Meaning(bundles)) if fields else None
        chain = Chain(
            meaning.examine if meaning else None,
            signed.size if signed else None,
            sorted({*epochs.marks, *earlier.marks}),
            at_each(epochs.at_mark, earlier.at_mark),
        )
        whole = self._read_records(chain, signed, progress)
        findings.records = chain.size
        if whole:
            earlier.conclude(findings)
        epochs.conclude(chain.size, listed=meaning.epoch_records if meaning and whole else None)
        # 6. Across the records: ids, outcomes, inputs, bundles, clock.
        if meaning is not None:
            self._compare(meaning, inputs if readable else None, chain.size, whole=whole)
        # 7. What the trust file demands is here.
        check_demands(findings, self._trust, note)
        # 8. Each file is the one that the manifest lists.
        check_manifest(findings, self._small(MANIFEST), self._files.names, self._digest_of)

    def _read_records(self, chain: Chain, signed: TreeHead | None, progress: Progress | None) -> bool:
        """Feed the chain; tells whether it holds to the end."""
        findings = self._findings
        with self._lines("records.jsonl") as blocks:
            try:
                for lines in blocks:
                    chain.feed(lines)
                    if progress is not None:
                        progress(chain.size, signed.size if signed is not None else 0)
                chain.finish(signed)
                if signed is not None and chain.size > signed.size:
                    sentence = f"Record {signed.size} is not covered by the checkpoint."
                    raise BadRecord(FirstBad(signed.size, None, "record.unsigned"), sentence)
            except BadLine as error:
                bad = FirstBad(chain.size, None, "record.malformed")
                findings.fail_record("records", BadRecord(bad, f"Record {bad.seq} is malformed. {error}"))
                return False
            except BadRecord as error:
                findings.fail_record("records", error)
                return False
        findings.hold("records", f"{chain.size} records are unchanged, in order and without a gap.")
        if signed is not None:
            findings.hold("root", "They make the tree that was signed.")
        return True

    def _compare(self, meaning: Meaning, inputs: SortedRows | None, size: int, *, whole: bool) -> None:
        findings = self._findings
        try:
            meaning.check_ids(size)
            findings.hold("ids", "No id occurs twice.")
        except BadRecord as error:
            findings.fail_record("ids", error)
        if not whole:
            # Behind a bad record nothing was read, so what is missing or too much cannot be told.
            return
        try:
            if inputs is not None:
                count = meaning.check_inputs(inputs)
                findings.hold("inputs", f"{count} policy inputs are here and have their digests.")
        except BadRecord as error:
            findings.fail_record("inputs", error)
        except LookupError:
            findings.fail("inputs", "inputs.unnamed", "There are policy inputs that no record names.")
        meaning.report(findings, all_named=True)

    def _follow(self, epochs: EpochCheck) -> None:
        with self._lines("epochs.jsonl") as blocks:
            try:
                epochs.follow(line for lines in blocks for line in lines)
            except BadLine:
                self._findings.fail("epochs", "epoch.invalid", "epochs.jsonl is not made of lines.")

    def _read_inputs(self, inputs: SortedRows) -> bool:
        """Collect the digests of the policy inputs; tells whether all are readable."""
        with self._lines("inputs.jsonl") as blocks:
            try:
                for lines in blocks:
                    inputs.extend([bytes.fromhex(inputs_digest(line)) for line in lines])
            except (BadLine, RecordInvalid):
                sentence = "inputs.jsonl holds something that is not a policy input."
                self._findings.fail("inputs", "inputs.malformed", sentence)
                return False
        return True

    def _bundles(self) -> set[str]:
        """Digests of the bundles whose files have them."""
        files: dict[str, dict[str, bytes]] = {}
        for path in sorted(self._files.names):
            folder, _, rest = path.partition("/")
            digest, _, name = rest.partition("/")
            if folder == "policies":
                files.setdefault(digest, {})[name] = self._small(path) or b""
        good: set[str] = set()
        for digest, content in files.items():
            try:
                recomputed = bundle_digest(content)
            except RecordInvalid:
                recomputed = ""
            if recomputed == digest:
                good.add(digest)
            else:
                self._findings.fail(
                    "policies", "bundle.changed", f"The policy bundle {digest:.12} is not what its name says."
                )
        return good

    def _small(self, name: str) -> bytes | None:
        """A small file as a whole; None when it is missing. One too large for its kind reads as empty."""
        if name not in self._files.names:
            return None
        with self._files.open(name) as file:
            data = file.read(_MAX_SMALL_BYTES + 1)
        if len(data) > _MAX_SMALL_BYTES:
            return b""
        self._digests[name] = sha256(data).hexdigest()
        return data

    @contextmanager
    def _lines(self, name: str) -> Iterator[Iterable[list[bytes]]]:
        """A large file line by line; read to its end in any case, for its digest."""
        if name not in self._files.names:
            yield ()
            return
        with self._files.open(name) as file:
            lines = Lines(file)
            yield lines
            self._digests[name] = lines.digest()

    def _digest_of(self, name: str) -> str:
        if name not in self._digests:
            with self._files.open(name) as file:
                self._digests[name] = Lines(file).digest()
        return self._digests[name]
