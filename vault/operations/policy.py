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
            "text": policy_text(bundle, policy.id),
        }
        for policy in bundle.policies
    ]


def policy_text(bundle: PolicyBundle, policy_id: str) -> str:
    """The text of one policy as its file has it, annotations included.

    Empty when the bundle has none such.
    """
    for policy in bundle.policies:
        if policy.id == policy_id:
            lines = bundle.files[policy.file].decode().splitlines()
            start = next(n for n, line in enumerate(lines) if f'@id("{policy_id}")' in line)
            end = next(n for n in range(start, len(lines)) if lines[n].rstrip().endswith(";"))
            return "\n".join(lines[start : end + 1])
    return ""
