"""Request and entities in, decision out. The only module that imports cedarpy; pure.

Default deny; a forbid always wins; and whatever goes wrong, the answer is no. The last matters most:
Cedar *skips* a forbid whose evaluation fails and may then answer allow, so an answer that comes with an
error is never an allow here, and it is marked for the caller to raise an alarm.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cedarpy

from policies.errors import BundleInvalid
from policies.inputs import entity_uid, inputs_document
from policies.obligations import demanded
from policies.policy import Effect, Policy
from policies.vocabulary import Action, Decision, EntityRef, EntityType, Request, Verdict

__all__ = ["NO_PERMIT_MATCHED", "Bundle", "PolicyEngine", "check_fit", "check_schema", "parse_policies"]

#: The reason of a default deny, for which Cedar names no policy.
NO_PERMIT_MATCHED = "no permit matched"

#: Cedar names a failing policy in the error's text and nowhere else.
_FAILED_POLICY = re.compile(r"error while evaluating policy `([^`]+)`")
_POLICY_PREFIX = re.compile(r"for policy `[^`]*`[:,] ")
_DETAIL_MAX_CHARACTERS = 200
#: Sets of entities kept parsed. The same person does the same to the same guest again and again.
_KEPT_ENTITIES = 1024


class Bundle(Protocol):
    """What the engine needs of a policy bundle."""

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle, hex."""

    @property
    def schema(self) -> str:
        """The bundle's Cedar schema, as text."""

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The bundle's policies; their ids are unique."""


@dataclass(frozen=True, slots=True)
class _Slice:
    """The policies that can matter for one action, parsed."""

    everything: cedarpy.PolicySet
    permits: cedarpy.PolicySet


class PolicyEngine:
    """Decides requests under one bundle. Immutable, so threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        """Parse the bundle once and slice its policies by action.

        Args:
            bundle: a validated bundle.
        """
        self._digest = bundle.digest
        self._obligations = {policy.id: policy.obligation for policy in bundle.policies}
        self._schema = cedarpy.Schema.from_str(bundle.schema)
        # By their text, so what changed is another set; reading and checking one takes as long as a decision.
        self._parsed_entities = lru_cache(_KEPT_ENTITIES)(self._parse_entities)
        self._slices = self._slice_by_action(bundle.policies)

    @property
    def bundle_digest(self) -> str:
        """SHA-256 of the bundle that decides, hex."""
        return self._digest

    def decide(self, request: Request) -> Decision:
        """Answer a request.

        Args:
            request: who asks to do what on what, under which circumstances, with the entities it touches.

        Returns:
            The decision. `evaluation_failed` asks the caller for an alarm.
        """
        return self.decide_document(
            request.principal, request.action, request.resource, inputs_document(request)
        )

    def decide_document(
        self, principal: EntityRef, action: Action, resource: EntityRef, document: Mapping[str, object]
    ) -> Decision:
        """Answer a request from its inputs.

        Args:
            principal: who asks.
            action: what they ask to do.
            resource: on what.
            document: what `inputs_document` wrote for the request.
        """
        try:
            return self._evaluate(
                principal, action, resource, document["context"], json.dumps(document["entities"])
            )
        except Exception:  # noqa: BLE001 - a request that cannot be asked is a request that is denied
            return self._failed("the request does not fit the policy schema")

    def decide_written(
        self, principal: EntityRef, action: Action, resource: EntityRef, context: str, entities: str
    ) -> Decision:
        """Answer a request from its inputs as they are stored, as JSON text; this is how a replay asks again."""
        try:
            return self._evaluate(principal, action, resource, context, entities)
        except Exception:  # noqa: BLE001 - as above
            return self._failed("the request does not fit the policy schema")

    def _evaluate(
        self, principal: EntityRef, action: Action, resource: EntityRef, context: object, written: str
    ) -> Decision:
        query = {
            "principal": entity_uid(principal),
            "action": _action_uid(action),
            "resource": entity_uid(resource),
            "context": context,
        }
        entities = self._parsed_entities(written)
        policies = self._slices[action]
        answer = cedarpy.is_authorized(query, policies.everything, entities, self._schema)
        if answer.diagnostics.errors or answer.decision is cedarpy.Decision.NoDecision:
            return self._failed(self._name_failures(answer))
        deciding = _deciding(answer)
        if answer.allowed:
            return self._decision(Verdict.ALLOW, deciding, f"permitted by {', '.join(deciding)}")
        if not deciding:
            return self._decision(Verdict.DENY, (), NO_PERMIT_MATCHED)
        missing = demanded(self._obligations[policy] for policy in deciding)
        # An obligation is worth naming only to somebody whom a permit would let through once it is met.
        if missing and cedarpy.is_authorized(query, policies.permits, entities, self._schema).allowed:
            reason = f"waits for {', '.join(missing)}, demanded by {', '.join(deciding)}"
            return self._decision(Verdict.UNMET, deciding, reason, missing)
        return self._decision(Verdict.DENY, deciding, f"forbidden by {', '.join(deciding)}")

    def _parse_entities(self, text: str) -> cedarpy.Entities:
        # With the schema the entities are checked, and the schema's groups of actions are added to them.
        return cedarpy.Entities.from_json_str(text, self._schema)

    def _decision(
        self, verdict: Verdict, policies: tuple[str, ...], reason: str, obligations: tuple[str, ...] = ()
    ) -> Decision:
        return Decision(verdict, policies, reason, obligations, self._digest)

    def _failed(self, what: str) -> Decision:
        # No policy is named as deciding: whatever matched besides did not decide, the failure did.
        return Decision(Verdict.DENY, (), f"denied because {what}", (), self._digest, evaluation_failed=True)

    def _name_failures(self, answer: cedarpy.AuthzResult) -> str:
        # The error's own text may quote what the request held, so only ids of ours are taken from it.
        named = {name for error in answer.diagnostics.errors for name in _FAILED_POLICY.findall(error)}
        failed = sorted(named & self._obligations.keys())
        if not failed:
            return "the request does not fit the policy schema"
        return f"{', '.join(failed)} could not be evaluated"

    def _slice_by_action(self, policies: tuple[Policy, ...]) -> dict[Action, _Slice]:
        """Find the policies that each action can match, by asking Cedar itself.

        Every policy is reduced to its action's constraint and turned into a permit; those that then
        match an action are its slice. So groups of actions and policies without a constraint need no
        rule of our own, and a slice cannot differ from what Cedar would have looked at.
        """
        forms: dict[str, dict[str, Any]] = {policy.id: json.loads(policy.form) for policy in policies}
        constraints = _policy_set(
            {
                policy_id: {
                    "effect": Effect.PERMIT,
                    "principal": {"op": "All"},
                    "action": form["action"],
                    "resource": {"op": "All"},
                    "conditions": [],
                    "annotations": {"id": policy_id},
                }
                for policy_id, form in forms.items()
            }
        )
        actions = cedarpy.Entities.from_json_str("[]", self._schema)
        anybody = entity_uid(EntityRef(EntityType.SITE, "site"))
        slices = {}
        for action in Action:
            query = {"principal": anybody, "action": _action_uid(action), "resource": anybody, "context": {}}
            matching = _deciding(cedarpy.is_authorized(query, constraints, actions))
            chosen = {policy_id: forms[policy_id] for policy_id in matching}
            slices[action] = _Slice(
                everything=_policy_set(chosen),
                permits=_policy_set(
                    {i: form for i, form in chosen.items() if form["effect"] == Effect.PERMIT}
                ),
            )
        return slices


def parse_policies(file: str, text: str) -> list[dict[str, object]]:
    """Parse policy text into Cedar's JSON form, in the order of the text.

    Args:
        file: the file's name, for the error's sentence.
        text: Cedar policies, already measured by `text_limits`.

    Raises:
        BundleInvalid: the text does not parse, nests too deeply, or holds a template.
    """
    try:
        as_json = cedarpy.policies_to_json_str(text)
    except ValueError as error:
        raise BundleInvalid(f"File {file} does not parse: {_detail(error)}.") from None
    try:
        parsed = json.loads(as_json)
        cedarpy.PolicySet.from_json_str(as_json)
    except (ValueError, RecursionError):
        raise BundleInvalid(
            f"File {file} holds a policy that nests too deeply.", "Replace long chains of && or || by sets."
        ) from None
    if parsed["templates"]:
        raise BundleInvalid(f"File {file} holds a policy with a slot, which would never apply to anybody.")
    static: dict[str, dict[str, object]] = parsed["staticPolicies"]
    return [static[name] for name in sorted(static, key=lambda name: int(name.removeprefix("policy")))]


def check_schema(file: str, text: str) -> None:
    """Check that a schema parses.

    Raises:
        BundleInvalid: it does not.
    """
    try:
        cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise BundleInvalid(f"File {file} does not parse: {_detail(error)}.") from None


def check_fit(file: str, text: str, schema: str) -> None:
    """Check policies against a schema, in Cedar's strict mode.

    Args:
        file: the file's name, for the error's sentence.
        text: its policies; each has an `@id`.
        schema: the schema's text.

    Raises:
        BundleInvalid: a policy names what the schema does not know, or mixes types.
    """
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return
    # Findings come in no order; the last by text is always the same one, and for an unknown action it is
    # "unrecognized action" and not its consequence "unable to find an applicable action".
    finding = max(result.errors, key=str)
    policy = result.id_annotations_by_policy_id[finding.policy_id]
    detail = _detail(_POLICY_PREFIX.sub("", finding.error))
    raise BundleInvalid(f"Policy {policy} in file {file} does not fit the schema: {detail}.")


def _policy_set(forms: Mapping[str, Mapping[str, object]]) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_json_str(
        json.dumps({"staticPolicies": forms, "templates": {}, "templateLinks": []})
    )


def _action_uid(action: Action) -> dict[str, str]:
    return {"type": "Action", "id": action.value}


def _deciding(answer: cedarpy.AuthzResult) -> tuple[str, ...]:
    # `reasons` may be positional; the @id of each deciding policy is here (FACTS.md).
    return tuple(sorted(answer.diagnostics.id_annotations_by_reason.values()))


def _detail(error: object) -> str:
    return " ".join(str(error).split())[:_DETAIL_MAX_CHARACTERS].rstrip(". ")
