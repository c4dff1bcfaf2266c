"""Turns results into plain JSON and its one byte form (RFC 8785), so that a digest names a result."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum

import rfc8785

Json = bool | int | str | None | list["Json"] | dict[str, "Json"]


def as_json(value: object, *, tag: bool = False) -> Json:
    """Turn dataclasses, enums, mappings and sequences into plain JSON values; there are no floats.

    Args:
        value: what to turn.
        tag: whether each object made of a dataclass says which, as `type`.

    Raises:
        TypeError: something else is in it: a defect of ours.
    """
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        members: dict[str, Json] = {
            each.name: as_json(getattr(value, each.name), tag=tag) for each in fields(value)
        }
        if tag:
            members["type"] = type(value).__name__
        return members
    if isinstance(value, Mapping):
        return {str(key): as_json(each, tag=tag) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each, tag=tag) for each in value]
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def to_bytes(value: object) -> bytes:
    """The canonical bytes of a value; equal values give equal bytes."""
    return rfc8785.dumps(as_json(value))
