"""Tells a record in one sentence: who asked for what, what was decided and by which policy, and how it ended."""

from collections.abc import Mapping
from typing import Any


def sentence(record: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The record in a sentence.

    Args:
        record: as `show_record` gives it.
        names: what references are called; a reference without a name is written as it is.
    """
    who = names.get(record["principal"], record["principal"])
    what = names.get(record["resource"], record["resource"])
    act = f"{record['action']} on {what}"
    match record["kind"]:
        case "outcome":
            return f"What {who} was allowed, {act}, {_ended(record)}."
        case "system":
            return f"{who} told of itself: {record['action']}."
        case "external":
            return f"Something happened to {what} that did not come through the gate: {record['action']}."
        case "recovery":
            return f"After the daemon's start {who} looked for what had been left open."
        case _:
            return f"{who} asked for {act} and {_decided(record)}"


def _decided(record: Mapping[str, Any]) -> str:
    if record["decision"] == "allow":
        ended = "" if record["kind"] == "intent" else f" It {_ended(record)}."
        return f"was allowed: {_by(record, 'permit')}.{ended}"
    if record["decision"] == "unmet":
        return f"must first meet what {_list(record['policies'])} demands."
    return f"was denied: {_by(record, 'forbid') if record['policies'] else 'no policy permits it'}."


def _by(record: Mapping[str, Any], verb: str) -> str:
    policies = record["policies"]
    return f"{_list(policies)} {verb if len(policies) > 1 else verb + 's'} it"


def _list(policies: list[str]) -> str:
    return " and ".join([", ".join(policies[:-1]), policies[-1]] if len(policies) > 1 else policies)


def _ended(record: Mapping[str, Any]) -> str:
    code = record["result"]["code"]
    return "ended well" if code == "ok" else f"ended with {code}"
