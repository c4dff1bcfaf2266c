"""An export held in memory, to be attacked: each attack changes files, mends what its attacker could, and verifies."""

import hashlib
import json
import tarfile
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from audit.errors import VerificationFailed
from audit.log import canonical
from audit.log.checkpoint import Checkpoint
from audit.log.export import export_log
from audit.log.merkle import TreeHead, leaf_hash, root_of
from audit.log.record import NO_PREV
from audit.log.signing_key import LogKey
from audit.verify import Report, Trust, verify_export
from tests.unit.audit_log.parts import LogHome, ordinary_history, write


@dataclass
class Export:
    """An export's files."""

    files: dict[str, bytes]
    trust: Trust = field(default_factory=Trust)

    def copy(self) -> "Export":
        return Export(dict(self.files), self.trust)

    @property
    def records(self) -> list[bytes]:
        return self.files["records.jsonl"].splitlines()

    @records.setter
    def records(self, lines: list[bytes]) -> None:
        self.files["records.jsonl"] = b"".join(line + b"\n" for line in lines)

    def mend_manifest(self) -> "Export":
        """What every attacker can do: nobody signs the manifest."""
        digests = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in self.files.items()
            if name != "manifest.json"
        }
        self.files["manifest.json"] = canonical.encode({"files": digests, "v": 1}) + b"\n"
        return self

    def mend_links(self, first: int = 0) -> "Export":
        """What every attacker can do too: number and link all records anew from some point on."""
        lines = self.records
        for seq in range(first, len(lines)):
            document = json.loads(lines[seq])
            document["seq"] = seq
            document["prev"] = leaf_hash(lines[seq - 1]).hex() if seq else NO_PREV
            lines[seq] = canonical.encode(document)
        self.records = lines
        return self

    def sign(self, key: LogKey, origin: str | None = None) -> "Export":
        """What only a holder of a key can do."""
        root = root_of([leaf_hash(line) for line in self.records])
        head = TreeHead(len(self.records), root)
        self.files["checkpoint"] = Checkpoint(origin or key.name, head).sign([key])
        self.files["log.vkey"] = f"{key.vkey}\n".encode()
        return self

    def verify(self, *, fields: bool = True, trusted: bool = True) -> Report:
        with TemporaryDirectory() as folder:
            self.write(Path(folder))
            return verify_export(Path(folder), self.trust if trusted else None, fields=fields)

    def failure(self, *, fields: bool = True, trusted: bool = True) -> VerificationFailed:
        """Verify, and give the failure there must be."""
        with pytest.raises(VerificationFailed) as caught:
            self.verify(fields=fields, trusted=trusted)
        assert caught.value.exit_code == 7
        assert caught.value.report["holds"] is False
        return caught.value

    def write(self, folder: Path) -> None:
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def tar(self, top: str = "") -> bytes:
        packed = BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, data in self.files.items():
                member = tarfile.TarInfo(top + name)
                member.size = len(data)
                tar.addfile(member, BytesIO(data))
        return packed.getvalue()


@cache
def honest_files() -> tuple[tuple[tuple[str, bytes], ...], str, bytes]:
    """The files of an honest export of 40 records, its key as text, and the key file's bytes."""
    with TemporaryDirectory() as folder:
        home = LogHome.create(Path(folder) / "log")
        writer = home.open()
        write(writer, ordinary_history(40))
        writer.close()
        export_log(home.path, Path(folder) / "export")
        files = tuple(
            (path.relative_to(Path(folder) / "export").as_posix(), path.read_bytes())
            for path in sorted((Path(folder) / "export").rglob("*"))
            if path.is_file()
        )
        return files, home.key.vkey, home.key_path.read_bytes()


def honest_export() -> Export:
    """A fresh copy of an honest export, with a trust file that names its origin and key."""
    files, vkey, _ = honest_files()
    return Export(dict(files), Trust.parse({"origin": vkey.split("+")[0], "log_vkey": vkey}))


def honest_key(folder: Path) -> LogKey:
    """The key that signed the honest export."""
    path = folder / "honest.key"
    path.touch(mode=0o600)
    path.write_bytes(honest_files()[2])
    return LogKey.load(path)
