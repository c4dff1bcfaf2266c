"""The words of records: a reference reads back as what was written, and nothing else reads as one."""

import pytest

from policies.vocabulary import EntityRef, EntityType


@pytest.mark.parametrize("entity_type", EntityType)
def test_a_reference_reads_back_as_it_was_written(entity_type: EntityType) -> None:
    ref = EntityRef(entity_type, "1f0c:with a colon")
    assert EntityRef.parse(str(ref)) == ref


def test_references_are_written_as_outside_programs_expect() -> None:
    assert str(EntityRef(EntityType.OPERATING_SYSTEM, "0")) == "os:0"
    assert str(EntityRef(EntityType.GUEST, "1f0c")) == "guest:1f0c"


@pytest.mark.parametrize("written", ["", "guest", "guest:", ":1f0c", "Guest:1f0c", "disk:1f0c"])
def test_what_names_no_entity_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="names no entity"):
        EntityRef.parse(written)
