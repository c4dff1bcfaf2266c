"""One policy of a bundle, as its annotations describe it.

Every policy has an `@id` that records name it by, and an `@control` that ties it to what a framework
asks for, so that control, policy, decision and record can be joined (D1).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from policies.errors import BundleInvalid
from policies.obligations import Obligation, read_obligation


class Effect(StrEnum):
    """What a policy does when it matches."""

    PERMIT = "permit"
    FORBID = "forbid"


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that has been read and found complete.

    Attributes:
        id: what records call it, such as `base.operator-guests`.
        file: the file of the bundle that holds it.
        effect: permit or forbid.
        controls: the controls it serves, such as `HIPAA 164.312(a)(1)`.
        obligation: what lifts this forbid; None for permits and for final forbids.
        form: the policy in Cedar's JSON form, as text.
    """

    id: str
    file: str
    effect: Effect
    controls: tuple[str, ...]
    obligation: Obligation | None
    form: str

    @property
    def says(self) -> str:
        """What the policy says in one sentence, made from its head; what it demands besides is in its text."""
        form = json.loads(self.form)
        actions = _actions(form["action"])
        verb = "Lets" if self.effect is Effect.PERMIT else "Forbids"
        link = "do" if self.effect is Effect.PERMIT else "to do"
        kinds = [str(condition["kind"]) for condition in form["conditions"]]
        where = "".join(f", {_CONDITIONS[kind]}" for kind in kinds)
        return f"{verb} {_who(form['principal'])} {link} {actions}{where}."


#: How the conditions of a policy are told; what exactly they are is in its text.
_CONDITIONS = {"when": "under its condition", "unless": "unless its exception holds"}


#: Ids go into records, reports and addresses of pages: short, lower case, no surprises.
_ID = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
_ID_MAX_CHARACTERS = 80
#: A framework's short name, a space, and the control's id in its catalogue.
_CONTROL = re.compile(r"[A-Z][A-Z0-9]* [A-Za-z0-9.()]+")
_ANNOTATIONS = frozenset({"id", "control", "obligation"})


def read_policy(file: str, position: int, form: Mapping[str, object]) -> Policy:
    """Read one parsed policy's annotations.

    Args:
        file: the file's name.
        position: the policy's place in the file, from 1; names it while it has no id.
        form: the policy in Cedar's JSON form.

    Raises:
        BundleInvalid: an annotation is missing, malformed or unknown.
    """
    annotations = form.get("annotations", {})
    assert isinstance(annotations, Mapping)  # noqa: S101 - Cedar's JSON form always has it; tells mypy
    policy_id = annotations.get("id")
    if not policy_id:
        raise BundleInvalid(f"Policy number {position} in file {file} has no @id.")
    if len(policy_id) > _ID_MAX_CHARACTERS or not _ID.fullmatch(policy_id):
        raise BundleInvalid(
            f"Policy number {position} in file {file} has an @id with odd characters or more than "
            f"{_ID_MAX_CHARACTERS} of them.",
            "Use lower-case letters, digits, dots and hyphens.",
        )
    unknown = sorted(set(annotations) - _ANNOTATIONS)
    if unknown:
        raise BundleInvalid(f"Policy {policy_id} in file {file} has an unknown annotation @{unknown[0]}.")
    effect = Effect(str(form["effect"]))
    return Policy(
        id=policy_id,
        file=file,
        effect=effect,
        controls=_read_controls(file, policy_id, annotations.get("control")),
        obligation=(
            read_obligation(
                policy_id, annotations["obligation"] or "", effect=effect, conditions=form["conditions"]
            )
            if "obligation" in annotations
            else None
        ),
        form=json.dumps(form),
    )


def _read_controls(file: str, policy_id: str, value: str | None) -> tuple[str, ...]:
    if not value:
        raise BundleInvalid(f"Policy {policy_id} in file {file} has no @control.")
    controls = tuple(part.strip() for part in value.split(";"))
    if not all(_CONTROL.fullmatch(control) for control in controls):
        raise BundleInvalid(
            f"Policy {policy_id} in file {file} has an @control that names no control.",
            'Write it as in @control("HIPAA 164.312(a)(1); PCI 7.2.2").',
        )
    return controls


def _who(principal: Mapping[str, Any]) -> str:
    """The principal of a policy's head, in words."""
    if principal["op"] == "is":
        return {"Account": "every account", "OperatingSystem": "the host itself"}.get(
            principal["entity_type"], f"every {principal['entity_type']}"
        )
    if "entity" in principal:
        entity = principal["entity"]
        kind = {"Role": "the role ", "OperatingSystem": "the host's "}.get(
            entity["type"], f"{entity['type']} "
        )
        return f"{kind}{entity['id']}"
    return "everybody"


def _actions(action: Mapping[str, Any]) -> str:
    """The actions of a policy's head, in words: all of them by name."""
    if "entities" in action:
        return ", ".join(str(entity["id"]) for entity in action["entities"])
    return str(action["entity"]["id"]) if "entity" in action else "anything"
