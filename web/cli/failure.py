"""What a command can end with besides success: a body as INTERFACES writes it, its exit code among it."""

from typing import Any

from policies.errors import ExitCode, StrongroomError


class CommandFailed(Exception):
    """A command did not do what it was asked. `body` is the error without the outer `error` key.

    Args:
        body: `code`, `message`, `hint`, `exit` and `record`.
        document: what goes to standard output with `--json` instead of the error, where INTERFACES fixes the shape of
            a result that did not hold (`strongroom verify`).
    """

    def __init__(self, body: dict[str, Any], document: dict[str, Any] | None = None) -> None:
        super().__init__(body["message"])
        self.body = body
        self.document = document


class BadUsage(StrongroomError):
    """The command line cannot be understood."""

    code = "usage"
    exit_code = ExitCode.BAD_INPUT


class DaemonUnreachable(StrongroomError):
    """No daemon answers where it should."""

    code = "daemon.unreachable"


class AnswerLost(StrongroomError):
    """The connection broke before the answer was there."""

    code = "daemon.answer_lost"


class CertificateUnknown(StrongroomError):
    """Whoever answers does not prove to be the daemon of this instance."""

    code = "daemon.certificate_unknown"
    exit_code = ExitCode.INTEGRITY


class NotLoggedIn(StrongroomError):
    """There is no token to send."""

    code = "session.not_authenticated"
    exit_code = ExitCode.DENIED


class LocalFailure(StrongroomError):
    """A file on this machine cannot be read or written."""

    code = "local.file"
    exit_code = ExitCode.HOST_FAILURE


class Interrupted(StrongroomError):
    """Somebody pressed Ctrl-C."""

    code = "interrupted"


def failed(
    code: str, message: str, hint: str, exit_code: ExitCode, record: str | None = None
) -> CommandFailed:
    """A failure that is not an error of ours to raise: a guest's command that failed, a log that does not hold."""
    return CommandFailed(
        {"code": code, "message": message, "hint": hint, "exit": int(exit_code), "record": record}
    )


def body_of(error: BaseException) -> dict[str, Any]:
    """The body for whatever ended a command."""
    from vault.jobs import error_body  # noqa: PLC0415 - the database behind it is not loaded for commands that succeed

    if isinstance(error, CommandFailed):
        return error.body
    if isinstance(error, StrongroomError):
        return error_body(error)
    if isinstance(error, KeyboardInterrupt):
        return error_body(Interrupted("Interrupted.", "What the daemon was already asked to do goes on."))
    if isinstance(error, PermissionError):
        return error_body(
            LocalFailure(f"You may not use {error.filename}.", "Run this as root, or as its owner.")
        )
    if isinstance(error, OSError) and error.filename is not None:
        reason = (error.strerror or "it failed").lower()
        return error_body(
            LocalFailure(f"{error.filename} cannot be used: {reason}.", "Mend it, then try again.")
        )
    return error_body(
        StrongroomError(
            f"Something unexpected went wrong ({type(error).__name__}).",
            "Run it again with STRONGROOM_TRACEBACK=1 to see where.",
        )
    )
