"""What the engine was given for one request, as a document that the log can keep.

The engine decides from this document and from nothing else, so a replay that feeds the stored document
back asks exactly the same question. Equal requests give equal documents: entities, attributes, parents
and sets are put in order.
"""

from collections.abc import Mapping

from policies.vocabulary import Entity, EntityRef, Request, Value


def entity_uid(ref: EntityRef) -> dict[str, str]:
    """Name an entity in Cedar's JSON form. An id is never parsed, so it cannot break out of anything."""
    return {"type": ref.type.value, "id": ref.id}


def inputs_document(request: Request) -> dict[str, object]:
    """Write down a request's context and entities.

    Args:
        request: the question.

    Returns:
        `{"context": {...}, "entities": [...]}` in Cedar's JSON entity format, ready for JSON. It holds
        ids only where the request does: no names, no free text (D3).
    """
    return {
        "context": _values(request.context),
        "entities": [
            _entity(entity)
            for entity in sorted(request.entities, key=lambda entity: (entity.ref.type, entity.ref.id))
        ],
    }


def _entity(entity: Entity) -> dict[str, object]:
    return {
        "uid": entity_uid(entity.ref),
        "attrs": _values(entity.attributes),
        "parents": [
            entity_uid(parent) for parent in sorted(entity.parents, key=lambda ref: (ref.type, ref.id))
        ],
    }


def _values(values: Mapping[str, Value]) -> dict[str, Value]:
    # A list stands for one of Cedar's sets, whose order means nothing.
    return {
        name: sorted(value, key=str) if isinstance(value, list) else value
        for name, value in sorted(values.items())
    }
