"""`strongroom job …`: long work that goes on by itself."""

from typing import Annotated

import typer

from policies.errors import ExitCode
from web.cli.client import part
from web.cli.failure import CommandFailed, failed
from web.cli.invocation import current
from web.cli.output import print_facts, print_line, print_table
from web.cli.quantities import write_time
from web.cli.waiting import ended, finish

app = typer.Typer(help="Long work that goes on by itself.", no_args_is_help=False)

JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.", show_default=False)]


@app.command("list")
def show_all(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=200)] = 20,
) -> None:
    """List the newest jobs."""
    invocation = current(context)
    found = invocation.logged_in().get("/jobs", limit=limit)
    invocation.show(
        found,
        lambda: print_table(
            ("Id", "Started (UTC)?", "Action", "Subject?", "State", "#%?", "How far…?"),
            (
                (
                    job["id"],
                    write_time(job["created_at"]),
                    job["action"],
                    job["subject"],
                    job["state"],
                    job["percent"],
                    job["error"]["message"] if job["error"] else job["sentence"],
                )
                for job in found["items"]
            ),
            "There are no jobs.",
        ),
    )


@app.command("show")
def show(context: typer.Context, job_id: JobId) -> None:
    """Show a job."""
    invocation = current(context)
    job = invocation.logged_in().get(f"/jobs/{part(job_id)}")
    invocation.show(
        job,
        lambda: print_facts(
            [
                ("Job", job["id"]),
                ("Action", f"{job['action']} {job['subject']}"),
                ("State", job["state"]),
                ("How far", f"{job['percent']} % {job['sentence']}"),
                ("Asked", write_time(job["created_at"])),
                ("Begun", write_time(job["started_at"]) if job["started_at"] else None),
                ("Attempt", job["attempt"] if job["attempt"] > 1 else None),
                ("Ended", write_time(job["ended_at"]) if job["ended_at"] else None),
                ("Error", job["error"]["message"] if job["error"] else None),
            ]
        ),
    )


@app.command("wait")
def wait(context: typer.Context, job_id: JobId) -> None:
    """Wait until a job has ended; ends as it ended."""
    invocation = current(context)
    client = invocation.logged_in()
    job = client.get(f"/jobs/{part(job_id)}")
    if job["error"]:
        raise CommandFailed(job["error"])
    result = finish(client, job, f"{job['action']} {job['subject']}")
    invocation.show(result, lambda: print_line("Done."))


@app.command("cancel")
def cancel(
    context: typer.Context,
    *,
    job_id: JobId,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it has ended.")] = False,
) -> None:
    """Cancel a job where that is safe; what it had begun is taken back."""
    invocation = current(context)
    client = invocation.logged_in()
    job = client.post(f"/jobs/{part(job_id)}/cancel")
    if no_wait:
        invocation.show(job, lambda: print_line("It is being cancelled."))
        return
    job = ended(client, job, f"Cancelling {job['action']} {job['subject']}")
    if job["state"] != "cancelled":
        raise failed(
            "job.not_cancellable",
            f"The job had ended ({job['state']}) before it could be cancelled.",
            f"See `strongroom job show {job['id']}`.",
            ExitCode.CONFLICT,
        )
    invocation.show(job, lambda: print_line("It is cancelled; what it had begun was taken back."))
