"""The shape every Strongroom error has, and the errors of the policy layer.

The lowest layer owns the shape because every layer above raises in it: a stable `code`
(it goes into the outcome record, the API answer and the exit code), one public sentence,
and a hint that says what to do next. Detail that could carry a secret never goes in here.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the command line, and through them the HTTP status of the API."""

    DONE = 0
    UNEXPECTED = 1
    BAD_INPUT = 2
    DENIED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    KEY_UNAVAILABLE = 6
    INTEGRITY = 7
    WAITING_FOR_APPROVAL = 8
    LOG_UNAVAILABLE = 9
    HOST_FAILURE = 10
    NOT_RECORDED = 11


class StrongroomError(Exception):
    """An error a person may meet.

    Args:
        message: one sentence that says what is wrong, safe to show to anyone.
        hint: one sentence that says what to do next; empty when the message says it.
    """

    code: ClassVar[str] = "unexpected"
    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        #: Id of the log record that tells of this error, once there is one.
        self.record: str | None = None


class PolicyError(StrongroomError):
    """Base of the policy layer's errors."""

    code = "policy.error"


class BundleInvalid(PolicyError):
    """A set of policy files that does not parse or validate; it must never become active."""

    code = "policy.bundle_invalid"
    exit_code = ExitCode.BAD_INPUT


class CatalogueInvalid(PolicyError):
    """A control catalogue that does not have the shape the reports rely on."""

    code = "policy.catalogue_invalid"
    exit_code = ExitCode.BAD_INPUT
