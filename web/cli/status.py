"""`strongroom status`: the site at a glance, and what to do next where something is off."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from policies.errors import ExitCode
from web.cli.failure import CommandFailed, NotLoggedIn, failed
from web.cli.invocation import Invocation, current
from web.cli.output import print_facts, print_line
from web.cli.quantities import write_size, write_time

#: Reasons why only what anybody may see is shown; the status is still an answer.
_NOT_FOR_THIS_CALLER: Final = frozenset(
    # The last is a daemon of an earlier version.
    {"session.not_authenticated", "session.expired", "policy.denied", "http.no_such_address"}
)


def status(
    context: typer.Context,
    *,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="End with 11 when the gate has stopped, 6 when sealed, 1 when anything else is off.",
        ),
    ] = False,
) -> None:
    """Show how the site stands; without a log-in only whether it works."""
    invocation = current(context)
    found = _ask(invocation)
    if check:
        _end_by_health(found)
    invocation.show(found, lambda: _print(found))


def _ask(invocation: Invocation) -> dict[str, Any]:
    try:
        return invocation.logged_in().get("/overview")
    except NotLoggedIn:
        return invocation.client().get("/status")
    except CommandFailed as failure:
        # A gate that has stopped lets nothing be read, and a status is wanted most then.
        stopped = failure.body["exit"] in {ExitCode.NOT_RECORDED, ExitCode.LOG_UNAVAILABLE}
        if not stopped and failure.body["code"] not in _NOT_FOR_THIS_CALLER:
            raise
        return invocation.client().get("/status")


def _end_by_health(found: dict[str, Any]) -> None:
    advice = list(_advice(found))
    if not advice:
        return
    exit_code = ExitCode.UNEXPECTED
    if found["gate"] == "stopped":
        exit_code = ExitCode.NOT_RECORDED
    elif found["sealed"]:
        exit_code = ExitCode.KEY_UNAVAILABLE
    sentences = " ".join(sentence for sentence, _ in advice)
    reason = failed("site.needs_attention", sentences, advice[0][1], exit_code)
    raise CommandFailed(reason.body, found)


def _print(found: dict[str, Any]) -> None:
    print_facts(_facts(found))
    advice = list(_advice(found))
    if advice:
        print_line("")
    for sentence, remedy in advice:
        print_line(f"{sentence} {remedy}")
    if "guests" not in found:
        print_line("\nGuests, jobs and findings are shown after `strongroom login`.")


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "Instance", f"{found['instance']}, version {found['version']}"
    if "since" in found:
        yield "Running since", f"{write_time(found['since'])} UTC ({_ago(found['since'])})"
    yield "Key store", f"{'sealed' if found['sealed'] else 'unsealed'} ({found['seal']})"
    yield "Gate", found["gate"]
    yield "Log", _log(found["log"])
    if "guests" in found:
        yield "Guests", _counts(found["guests"], always=("running", "stopped"))
        yield "Findings", _counts(found["findings"]) or "none open"
        yield "Jobs", _counts(found["jobs"]) or "none yet"
        disk = found["disk"]
        yield "Disk", f"{write_size(disk['free_bytes'])} free of {write_size(disk['total_bytes'])}"
    yield "Hypervisor", found["hypervisor"]
    slow = ", software emulation: guests run slowly" if found["accelerator"] == "tcg" else ""
    yield "Accelerator", f"{found['accelerator']}{slow}"


def _log(log: Mapping[str, Any]) -> str:
    written = f"{log['size']} records"
    if log.get("signed_at"):
        unsigned = log["unsigned_records"]
        written += f", signed to {_ago(log['signed_at'])}" + (f", {unsigned} unsigned" if unsigned else "")
    return f"{written}, head {log['root'][:16]}…"


def _counts(counts: Mapping[str, int], always: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count or name in always)


def _advice(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if found["gate"] == "stopped":
        yield (
            "The gate has stopped: an outcome could not be recorded, and nothing more is done.",
            "Mend the log's storage, then restart the daemon.",
        )
    if "advice" in found:
        for one in found["advice"]:
            yield one["sentence"], one["remedy"]
    elif found["sealed"]:
        yield "The key store is sealed, so no guest can start.", "Run `strongroom unseal`."


def _ago(at: str) -> str:
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
