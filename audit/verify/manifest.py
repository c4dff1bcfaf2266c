"""The manifest: which files an export has, and their digests.

Nobody signs it. It tells a damaged copy from a whole one; what an attacker cannot mend is the signed tree.
"""

from collections.abc import Callable, Collection

from audit.errors import NotCanonical
from audit.log import canonical
from audit.verify.files import REQUIRED
from audit.verify.report import Findings

NAME = "manifest.json"


def check_manifest(
    findings: Findings, untrusted: bytes | None, names: Collection[str], digest_of: Callable[[str], str]
) -> None:
    """Compare the manifest with the files.

    Args:
        findings: receives the check.
        untrusted: the manifest's bytes; None when it is missing.
        names: the files there are.
        digest_of: gives a file's SHA-256, hex.
    """
    if untrusted is None:
        findings.fail("manifest", "manifest.missing", "There is no manifest.")
        return
    listed = _parse(untrusted)
    if listed is None:
        findings.fail("manifest", "manifest.malformed", "The manifest does not have its form.")
        return
    for name in sorted(listed.keys() | (set(REQUIRED) - {NAME})):
        if name not in listed:
            findings.fail("manifest", "manifest.incomplete", f"The manifest does not list {name}.")
            return
        if name not in names:
            findings.fail("manifest", "file.missing", f"The manifest lists {name}, which is not here.")
            return
        if listed[name] != digest_of(name):
            findings.fail("manifest", "file.changed", f"{name} is not the file that the manifest lists.")
            return
    extra = sorted(set(names) - listed.keys() - {NAME})
    if any("/" in name for name in extra):
        findings.fail("manifest", "file.added", "There are files in folders that the manifest does not list.")
        return
    aside = f" Not part of it, and not looked at: {len(extra)} files beside it." if extra else ""
    findings.hold(
        "manifest", f"Each of the {len(listed)} files has the digest that the manifest lists.{aside}"
    )


def _parse(untrusted: bytes) -> dict[str, str] | None:
    try:
        value = canonical.parse(untrusted.removesuffix(b"\n"))
    except NotCanonical:
        return None
    match value:
        case {"files": dict(files), "v": 1, **others} if not others and untrusted.endswith(b"}\n"):
            listed = {str(name): digest for name, digest in files.items() if isinstance(digest, str)}
            return listed if len(listed) == len(files) else None
        case _:
            return None
