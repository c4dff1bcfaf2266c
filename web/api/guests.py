"""Guests: list, show, create, start, stop, delete; commands and files inside them."""

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, request, send_file

from policies.vocabulary import Action
from vault.operations import guest_delete, guest_inside, guest_list
from web import long_work
from web.api.inputs import ExecRequest, FilePath, FileTarget, GuestRequest, StopRequest, ViewQuery
from web.errors import Malformed
from web.guard import caller
from web.site import site

routes = APIBlueprint("guests", __name__, url_prefix="/api/v1/guests")

#: A file or standard input goes to a guest through its agent, in memory and in small pieces.
FILE_LIMIT_BYTES: Final = 64 * 1024 * 1024
Started = tuple[dict[str, Any], int]


@routes.get("")
@routes.input(ViewQuery, location="query", arg_name="asked")
def list_guests(asked: ViewQuery) -> dict[str, Any]:
    """List the guests."""
    return guest_list.list_guests(site(), caller(), asked.view)


@routes.post("")
@routes.input(GuestRequest, arg_name="asked")
def create_guest(asked: GuestRequest) -> Started:
    """Create a guest: a job."""
    return _accepted(Action.GUEST_CREATE, asked.name, asked.model_dump())


@routes.get("/<name>")
@routes.input(ViewQuery, location="query", arg_name="asked")
def show_guest(name: str, asked: ViewQuery) -> dict[str, Any]:
    """Show a guest with its measured disks."""
    return guest_list.show_guest(site(), caller(), name, asked.view)


@routes.delete("/<name>")
def delete_guest(name: str) -> dict[str, Any]:
    """Delete a stopped guest, and with it the only key to its disks."""
    return guest_delete.delete_guest(site(), caller(), name)


@routes.post("/<name>/start")
def start_guest(name: str) -> Started:
    """Start a guest: a job."""
    return _accepted(Action.GUEST_START, name, {"name": name})


@routes.post("/<name>/stop")
@routes.input(StopRequest, arg_name="asked")
def stop_guest(name: str, asked: StopRequest) -> Started:
    """Stop a guest; with force its power is cut when the time is over: a job."""
    return _accepted(Action.GUEST_STOP, name, {"name": name, **asked.model_dump()})


@routes.post("/<name>/exec")
@routes.input(ExecRequest, arg_name="asked")
def exec_in_guest(name: str, asked: ExecRequest) -> dict[str, Any]:
    """Run a command in a guest and wait for it; `encoding` tells whether the output is text or base64."""
    try:
        stdin = base64.b64decode(asked.stdin, validate=True)
    except binascii.Error as error:
        raise Malformed("stdin: must be base64.") from error
    ended = guest_inside.exec_in_guest(site(), caller(), name, asked.argv, stdin, asked.timeout_s)
    return ended | _readable(ended["stdout"], ended["stderr"])


def _readable(*printed: str) -> dict[str, str]:
    """What a command printed as text, where all of it is text; `encoding` says which it is."""
    try:
        stdout, stderr = (base64.b64decode(stream).decode() for stream in printed)
    except UnicodeDecodeError:
        stdout, stderr = printed
        return {"stdout": stdout, "stderr": stderr, "encoding": "base64"}
    return {"stdout": stdout, "stderr": stderr, "encoding": "utf-8"}


@routes.put("/<name>/files")
@routes.input(FileTarget, location="query", arg_name="asked")
def copy_in(name: str, asked: FileTarget) -> dict[str, Any]:
    """Write the raw body to a file in the guest."""
    request.max_content_length = FILE_LIMIT_BYTES
    data = request.get_data(cache=False)
    return guest_inside.copy_in(site(), caller(), name, asked.path, data, int(asked.mode, 8))


@routes.get("/<name>/files")
@routes.input(FilePath, location="query", arg_name="asked")
def copy_out(name: str, asked: FilePath) -> Response:
    """Read a file out of the guest, as raw bytes."""
    data = guest_inside.copy_out(site(), caller(), name, asked.path)
    return send_file(
        io.BytesIO(data), mimetype="application/octet-stream", as_attachment=True, download_name="file"
    )


def _accepted(action: Action, subject: str, arguments: Mapping[str, Any]) -> Started:
    return long_work.view(long_work.start(action, subject, arguments)), 202
