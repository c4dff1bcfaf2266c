"""What every fact has in common: frozen, exactly typed, instants in UTC, counts that JSON keeps exactly."""

from datetime import UTC
from typing import Annotated, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from audit.evidence.instant import format_instant

Instant = Annotated[
    AwareDatetime, PlainSerializer(lambda at: format_instant(at.astimezone(UTC)), return_type=str)
]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Fact(BaseModel):
    """Base of every fact: frozen, exact types, no unknown fields."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)
