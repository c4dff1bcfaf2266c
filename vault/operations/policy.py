"""Which policies decide, and whether a changed set would be valid."""

from collections.abc import Mapping
from typing import Any

from policies.bundle import PolicyBundle
from policies.vocabulary import Action
from vault.entities import SITE
from vault.gate import Access, Caller
from vault.site import Site


def list_policies(site: Site, caller: Caller) -> dict[str, Any]:
    """The active bundle's policies."""

    def produce() -> dict[str, Any]:
        return {"items": describe(site.bundle), "next": None, "bundle": site.bundle.digest}

    return site.gate.read(Access(caller, Action.POLICY_LIST, SITE), produce)


def check_policies(site: Site, caller: Caller, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Say whether a set of files would be a valid bundle; nothing becomes active.

    Raises:
        BundleInvalid: one sentence names the file or policy that is at fault.
    """

    def produce() -> dict[str, Any]:
        bundle = PolicyBundle(dict(files))
        return {"valid": True, "bundle": bundle.digest, "policies": len(bundle.policies)}

    return site.gate.read(Access(caller, Action.POLICY_CHECK, SITE), produce)


def describe(bundle: PolicyBundle) -> list[dict[str, Any]]:
    """A bundle's policies as lists and pages show them, with the text of each."""
    return [
        {
            "id": policy.id,
            "file": policy.file,
            "effect": str(policy.effect),
            "controls": list(policy.controls),
            "says": policy.says,
            "comment": policy_comment(bundle.files, policy.id),
            "text": policy_text(bundle.files, policy.id),
        }
        for policy in bundle.policies
    ]


def policy_text(files: Mapping[str, bytes], policy_id: str) -> str:
    """The text of one policy as its file has it, annotations included.

    Args:
        files: the files of a bundle, by name.

    Returns:
        the text; empty when no file has this policy.
    """
    lines, start = _found(files, policy_id)
    end = next((n for n in range(start, len(lines)) if lines[n].rstrip().endswith(";")), len(lines) - 1)
    return "\n".join(lines[start : end + 1])


def policy_comment(files: Mapping[str, bytes], policy_id: str) -> str:
    """What the file's author wrote right above a policy, as one paragraph; may be empty."""
    lines, start = _found(files, policy_id)
    said: list[str] = []
    while start > 0 and lines[start - 1].startswith("//"):
        start -= 1
        said.insert(0, lines[start].lstrip("/").strip())
    return "" if any(line.startswith("---") for line in said) else " ".join(said)


def _found(files: Mapping[str, bytes], policy_id: str) -> tuple[list[str], int]:
    for name, content in files.items():
        if name.endswith(".cedar"):
            lines = content.decode().splitlines()
            for number, line in enumerate(lines):
                if f'@id("{policy_id}")' in line:
                    return lines, number
    return [], 0
