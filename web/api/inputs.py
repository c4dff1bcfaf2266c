"""What requests may hold. Unknown fields are refused, and nothing is converted silently."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from vault.finding_codes import Severity

#: Longer text in a field of ours is a mistake.
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: What a person says; how long it may be is decided by the operation.
Words = Annotated[str, StringConstraints(max_length=100_000)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=1024)]
_NO_BYTES = "must hold no NUL character"


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError(_NO_BYTES)
    return text


#: JSON has no times, so here a text is converted.
Instant = Annotated[AwareDatetime, Field(strict=False)]
Argument = Annotated[str, StringConstraints(max_length=32768), AfterValidator(_without_nul)]
GuestPath = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_without_nul)]


class Input(BaseModel):
    """Base of all inputs."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Base of inputs in an address, where everything is text."""

    model_config = ConfigDict(extra="forbid")


class LogIn(Input):
    """Name and password of an account."""

    name: Text
    password: Secret


class Passphrase(Input):
    """What opens the key store's seal, and whether one that is older than the state will do."""

    passphrase: Secret
    accept_older: bool = False


class NewAccount(Input):
    """An account to be made."""

    name: Text
    password: Secret
    roles: list[Text] = Field(min_length=1, max_length=20)
    service: bool = False


class PasswordChange(Input):
    """The caller's present and new password."""

    old_password: Secret
    new_password: Secret


class TokenRequest(Input):
    """An API token to be made."""

    label: Text
    days: int


class GuestRequest(Input):
    """A guest to be made; what fits is decided by the operation."""

    name: Text
    image: Text
    vcpus: int
    memory_bytes: int
    disk_bytes: int
    labels: list[Text] = Field(default_factory=list, max_length=50)
    autostart: bool = False
    start_order: int = 0


class ViewQuery(Query):
    """A read that repeats by itself."""

    #: a view that asks again by itself; the same view of one session is recorded once in five minutes
    view: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] | None = None


class StopRequest(Input):
    """How a guest is to be stopped."""

    force: bool = False
    timeout_s: int = Field(default=60, ge=0, le=600)


class ExecRequest(Input):
    """A command to run in a guest."""

    argv: list[Argument] = Field(min_length=1, max_length=1024)
    #: base64
    stdin: str = ""
    timeout_s: int = Field(default=60, ge=1, le=3600)


class FilePath(Query):
    """A file in a guest."""

    path: GuestPath


class FileTarget(FilePath):
    """A file in a guest that is to be written."""

    #: octal, as chmod writes it
    mode: Annotated[str, StringConstraints(pattern=r"^0?[0-7]{3}$")] = "600"


class ImageName(Input):
    """Which image to build."""

    name: Text


class ImageImport(Input):
    """A disk image on the daemon's machine."""

    name: Text
    path: GuestPath
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    format: Literal["qcow2", "raw"]


class LogQuery(ViewQuery):
    """Filters and page of a list of records."""

    since: str | None = None
    until: str | None = None
    kind: str | None = None
    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    decision: str | None = None
    limit: int = Field(default=100, ge=1, le=1000)
    next: str | None = None


class ExportRequest(Input):
    """How the log is to be exported."""

    #: as C2SP tlog-tiles instead of records, inputs and policies
    tiles: bool = False


class KeptCheckpoint(Input):
    """A checkpoint that somebody kept, a C2SP signed note."""

    checkpoint: Annotated[str, StringConstraints(min_length=1, max_length=2**18)]


class TimeSpan(Input):
    """A time, from `since` (included) to `until` (excluded)."""

    since: Instant
    until: Instant


class PolicyFiles(Input):
    """Policy files by name."""

    files: dict[Text, str] = Field(min_length=1, max_length=100)


class ReportRequest(Input):
    """A report to be made on a period."""

    framework: Literal["hipaa", "pci"]
    since: Instant
    until: Instant


class FindingQuery(ViewQuery):
    """Which findings."""

    #: without it: those that are not closed
    state: Literal["open", "acknowledged", "closed", "all"] | None = None
    severity: Severity | None = None
    limit: int = Field(default=500, ge=1, le=1000)


class Acknowledgement(Input):
    """That somebody knows of a finding, and what they say to it."""

    note: Words


class Closing(Input):
    """Why a finding is over."""

    reason: Words


class JobQuery(ViewQuery):
    """How many jobs."""

    limit: int = Field(default=20, ge=1, le=200)
