"""A validated, digested set of policy files. A bundle that exists is valid.

What a record says about a decision rests on the bundle's digest, so a bundle is exactly its files:
nothing else may lie beside them, and the digest can be recomputed with ordinary tools.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from policies.engine import check_fit, check_schema, parse_policies
from policies.errors import BundleInvalid
from policies.policy import Policy, read_policy
from policies.text_limits import MAX_BUNDLE_BYTES, decode_text

SCHEMA_FILE = "schema.cedarschema"

_POLICY_FILE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,59}\.cedar")


#: `resource.labels.containsAny(["ephi", "chd"])` and its like, as policies write them.
_LABEL_LIST = re.compile(r"\blabels\s*\.\s*contains(?:Any|All)?\s*\(([^)]*)\)")
_LABEL = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True, eq=False)
class PolicyBundle:
    """Policy files that parse, fit the schema, and name their controls.

    Args:
        files: name and bytes of each file: one schema, and any number of `.cedar` files.
        foreign_schema: accept a schema other than this version's. Only for replaying what an older
            version decided, in a child process with limits: a hostile schema can eat all memory.

    Attributes:
        files: the same, sorted by name, read-only; what an export carries.
        digest: SHA-256, hex, over one line `<SHA-256 of the file>  <name>` for each file in order of
            the names: what `LC_ALL=C sha256sum * | sha256sum` prints in the bundle's folder.
        schema: the schema's text.
        policies: what the files say, sorted by id.

    Raises:
        BundleInvalid: one sentence names the file or policy that is at fault.
    """

    files: Mapping[str, bytes]
    foreign_schema: InitVar[bool] = False
    digest: str = field(init=False)
    schema: str = field(init=False)
    policies: tuple[Policy, ...] = field(init=False)

    @property
    def labels(self) -> frozenset[str]:
        """The labels of guests that these policies speak of."""
        texts = [content.decode() for name, content in self.files.items() if name != SCHEMA_FILE]
        lists = [found for text in texts for found in _LABEL_LIST.findall(text)]
        return frozenset(label for found in lists for label in _LABEL.findall(found))

    def __post_init__(self, foreign_schema: bool) -> None:
        files = MappingProxyType(dict(sorted(self.files.items())))
        _check_files(files)
        schema = decode_text(SCHEMA_FILE, files[SCHEMA_FILE])
        if not foreign_schema and files[SCHEMA_FILE] != _shipped_files()[SCHEMA_FILE]:
            raise BundleInvalid(
                f"File {SCHEMA_FILE} is not the schema of this version of Strongroom.",
                "Keep the schema that came with it; only the .cedar files are yours to change.",
            )
        check_schema(SCHEMA_FILE, schema)
        # A frozen dataclass sets what it computes through its base.
        object.__setattr__(self, "files", files)
        object.__setattr__(self, "digest", _digest(files))
        object.__setattr__(self, "schema", schema)
        object.__setattr__(self, "policies", _read_policies(files, schema))

    @classmethod
    def load(cls, folder: Path, *, foreign_schema: bool = False) -> "PolicyBundle":
        """Read a bundle from a folder that holds its files and nothing else.

        Args:
            folder: the folder.
            foreign_schema: as for the class.

        Raises:
            BundleInvalid: the folder cannot be read, or what it holds is not a valid bundle.
        """
        try:
            return cls(dict(_read_folder(folder)), foreign_schema=foreign_schema)
        except OSError as error:
            raise BundleInvalid(
                f"The policy bundle in {folder} cannot be read: {error.strerror}.",
                "Name a folder with the policy files.",
            ) from None


@cache
def shipped() -> PolicyBundle:
    """Give the bundle that came with this version."""
    return PolicyBundle(_shipped_files())


def empty() -> PolicyBundle:
    """Give a bundle without any policy: the canary that shows a denial by default (PCI DSS 7.3.3)."""
    return PolicyBundle({SCHEMA_FILE: _shipped_files()[SCHEMA_FILE]})


@cache
def _shipped_files() -> Mapping[str, bytes]:
    folder = resources.files("policies").joinpath("cedar")
    return MappingProxyType({file.name: file.read_bytes() for file in folder.iterdir()})


def _read_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    size_bytes = 0
    for path in sorted(folder.iterdir()):
        # A link's target could change after the digest was taken, and a pipe would hang.
        if path.is_symlink() or not path.is_file():
            raise BundleInvalid(f"{path.name} in the policy bundle is not a plain file.")
        with path.open("rb") as file:
            content = file.read(MAX_BUNDLE_BYTES + 1)
        size_bytes += len(content)
        _check_size(size_bytes)
        yield path.name, content


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_BUNDLE_BYTES:
        raise BundleInvalid(f"The policy bundle is larger than {MAX_BUNDLE_BYTES} bytes.")


def _check_files(files: Mapping[str, bytes]) -> None:
    if SCHEMA_FILE not in files:
        raise BundleInvalid(f"The policy bundle has no file {SCHEMA_FILE}.")
    for name in files:
        if name != SCHEMA_FILE and not _POLICY_FILE.fullmatch(name):
            raise BundleInvalid(
                f"File {name!r} does not belong in a policy bundle.",
                f"A bundle holds {SCHEMA_FILE} and files whose names end in .cedar, in lower case.",
            )
    _check_size(sum(len(content) for content in files.values()))


def _digest(files: Mapping[str, bytes]) -> str:
    listing = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return hashlib.sha256(listing.encode()).hexdigest()


def _read_policies(files: Mapping[str, bytes], schema: str) -> tuple[Policy, ...]:
    found: dict[str, Policy] = {}
    for name, content in files.items():
        if name == SCHEMA_FILE:
            continue
        text = decode_text(name, content)
        for position, form in enumerate(parse_policies(name, text), start=1):
            policy = read_policy(name, position, form)
            if policy.id in found:
                raise BundleInvalid(
                    f"Policy {policy.id} in file {name} has the @id of a policy in file "
                    f"{found[policy.id].file}."
                )
            found[policy.id] = policy
        check_fit(name, text, schema)
    return tuple(found[policy_id] for policy_id in sorted(found))
