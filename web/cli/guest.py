"""`strongroom guest …`: make guests, run them, delete them."""

import sys
import time
from typing import Annotated, Any

import typer

from policies.errors import ExitCode
from web.cli.client import Client, part
from web.cli.failure import BadUsage, failed
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table
from web.cli.quantities import parse_size, write_size, write_time
from web.cli.waiting import ask_again, finish, progress, started

app = typer.Typer(help="Guests: encrypted virtual machines.", no_args_is_help=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the guest.", show_default=False)]
Wait = Annotated[
    bool | None,
    typer.Option(
        "--wait/--no-wait",
        help="Wait also until the guest's agent answers; or do not wait at all and print the job's id.",
        show_default="waits until it runs",
    ),
]
AgentTimeout = Annotated[
    int, typer.Option("--timeout", min=1, help="With --wait: seconds to wait for the agent.")
]

_AGENT_LOOKS_S = 1.0
_BOOT_GUESS_S = 120


@app.command("create")
def create(
    context: typer.Context,
    *,
    name: Name,
    image: Annotated[str, typer.Option(help="Image to make it from; see `strongroom image list`.")],
    disk: Annotated[str, typer.Option(help="Size of its disk, as 4G.")],
    memory: Annotated[str, typer.Option(help="Memory, as 768M.")] = "1G",
    vcpus: Annotated[int, typer.Option(help="Virtual processors.")] = 1,
    label: Annotated[
        list[str] | None, typer.Option(help="What it holds, for the policy: ephi, chd, …; may be repeated.")
    ] = None,
    autostart: Annotated[
        bool, typer.Option("--autostart", help="Start it by itself after each unseal.")
    ] = False,
    start_order: Annotated[int, typer.Option(help="With --autostart: lower starts earlier.")] = 0,
    start: Annotated[bool, typer.Option("--start", help="Start it once it is made.")] = False,
    wait: Wait = None,
    timeout: AgentTimeout = 600,
) -> None:
    """Create a guest with an encrypted disk."""
    invocation = current(context)
    if start and wait is False:
        raise BadUsage("--start needs the guest to be made first.", "Leave out --no-wait, or start it later.")
    body = {
        "name": name,
        "image": image,
        "vcpus": vcpus,
        "memory_bytes": parse_size(memory),
        "disk_bytes": parse_size(disk),
        "labels": label or [],
        "autostart": autostart,
        "start_order": start_order,
    }
    client = invocation.logged_in()
    job = client.post("/guests", body)
    if wait is False:
        started(invocation, job)
        return
    made = finish(client, job, f"Creating {name}")
    if start:
        made = _start(client, name, agent_within_s=timeout if wait else None)
    invocation.show(made, lambda: _print_guest(made))


@app.command("list")
def show_all(context: typer.Context) -> None:
    """List the guests."""
    invocation = current(context)
    found = invocation.logged_in().get("/guests")
    invocation.show(
        found,
        lambda: print_table(
            ("Name", "State", "Labels…", "#vCPUs?", "#Memory?", "#Disk?", "Id?"),
            (
                (
                    guest["name"],
                    guest["state"],
                    guest["labels"],
                    guest["vcpus"],
                    write_size(guest["memory_bytes"]),
                    write_size(guest["disks"][0]["size_bytes"]) if guest["disks"] else None,
                    guest["id"],
                )
                for guest in found["items"]
            ),
            "There are no guests yet; make one with `strongroom guest create`.",
        ),
    )


@app.command("show")
def show(context: typer.Context, name: Name) -> None:
    """Show a guest and its disks as measured."""
    invocation = current(context)
    guest = invocation.logged_in().get(f"/guests/{part(name)}")
    invocation.show(guest, lambda: _print_guest(guest))


@app.command("start")
def start(context: typer.Context, name: Name, wait: Wait = None, timeout: AgentTimeout = 600) -> None:
    """Start a guest."""
    invocation = current(context)
    client = invocation.logged_in()
    if wait is False:
        started(invocation, client.post(f"/guests/{part(name)}/start"))
        return
    guest = _start(client, name, agent_within_s=timeout if wait else None)
    invocation.show(guest, lambda: print_line(f"{name} is running."))


@app.command("stop")
def stop(
    context: typer.Context,
    *,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Cut the power when it has not stopped in time.")
    ] = False,
    timeout: Annotated[int, typer.Option(help="Seconds the guest may take.", min=0, max=600)] = 60,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the job's id and return.")] = False,
) -> None:
    """Stop a guest."""
    invocation = current(context)
    client = invocation.logged_in()
    job = client.post(f"/guests/{part(name)}/stop", {"force": force, "timeout_s": timeout})
    if no_wait:
        started(invocation, job)
        return
    guest = finish(client, job, f"Stopping {name}")
    invocation.show(guest, lambda: print_line(f"{name} is stopped."))


@app.command("delete")
def delete(
    context: typer.Context,
    *,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a stopped guest for ever: its keys are destroyed first."""
    invocation = current(context)
    client = invocation.logged_in()
    if not yes:
        if invocation.json or not sys.stdin.isatty():
            raise BadUsage("Deleting a guest destroys its keys, and nobody can be asked here.", "Add --yes.")
        print_line(f"This destroys the only keys to the disks of {name}; nothing brings its data back.")
        if input("Type its name to go on: ").strip() != name:
            raise BadUsage("That is not its name, so nothing was done.", "Try again.")
    gone = client.delete(f"/guests/{part(name)}")
    invocation.show(gone, lambda: print_line(f"{name} is deleted."))


def _start(client: Client, name: str, *, agent_within_s: int | None) -> dict[str, Any]:
    # Waiting for a guest that runs already is no mistake: it only waits.
    guest = client.get(f"/guests/{part(name)}", view="wait") if agent_within_s is not None else {}
    if guest.get("state") != "running":
        guest = finish(client, client.post(f"/guests/{part(name)}/start"), f"Starting {name}")
    if agent_within_s is None:
        return guest
    until = time.monotonic() + agent_within_s
    gone = failed(
        "daemon.unreachable",
        f"The daemon stays away, so nobody waits any longer; {name} runs on.",
        f"Once the daemon runs again, look with `strongroom guest show {name}`.",
        ExitCode.UNEXPECTED,
    )
    with progress(f"Starting {name}") as show_progress:
        while time.monotonic() < until:
            # One view, so that a minute of looking is one record of the log and not sixty.
            guest = ask_again(lambda: client.get(f"/guests/{part(name)}", view="wait"), show_progress, gone)
            if guest.get("agent"):
                return guest
            if guest["state"] != "running":
                raise failed(
                    "guest.not_running",
                    f"{name} stopped again before its agent answered.",
                    "Look at `strongroom finding list` and start it again.",
                    ExitCode.HOST_FAILURE,
                )
            waited_s = agent_within_s - (until - time.monotonic())
            show_progress(min(99, int(waited_s * 100 / _BOOT_GUESS_S)), "Waiting for the guest's agent.")
            time.sleep(_AGENT_LOOKS_S)
    raise failed(
        "guest.agent_silent",
        f"The agent of {name} did not answer within {agent_within_s} seconds; the guest runs on.",
        "Wait longer with --timeout, or look whether qemu-guest-agent runs in it.",
        ExitCode.HOST_FAILURE,
    )


def _print_guest(guest: dict[str, Any]) -> None:
    print_facts(
        [
            ("Name", guest["name"]),
            ("State", guest["state"]),
            ("Id", guest["id"]),
            ("Labels", guest["labels"]),
            ("vCPUs", guest["vcpus"]),
            ("Memory", write_size(guest["memory_bytes"])),
            ("Accelerator", guest["accelerator"]),
            *([("Agent", "answers" if guest["agent"] else "silent")] if "agent" in guest else []),
            *(
                (f"Network {nth}", _network(interface))
                for nth, interface in enumerate(guest["interfaces"], 1)
            ),
            ("Created", write_time(guest.get("created_at"))),
        ]
    )
    print_line("")
    print_table(
        ("Disk", "#Size", "Cipher", "Keyslots", "Key?", "File?"),
        (
            (
                disk.get("role"),
                write_size(disk["size_bytes"]),
                disk["cipher"],
                disk["keyslots"],
                disk["key_id"],
                disk["path"],
            )
            for disk in guest["disks"]
        ),
        "It has no disk.",
    )


def _network(interface: Any) -> str:  # noqa: ANN401 - what JSON holds
    if isinstance(interface, dict):
        return " ".join(f"{name}={value}" for name, value in interface.items())
    return str(interface)
