import json
import os
import stat
from pathlib import Path

import pytest

from vault.errors import BadInput, NotFound
from vault.guests.agent import (
    MAX_FILE_BYTES,
    MAX_OUTPUT_BYTES,
    MAX_STDIN_BYTES,
    AgentError,
    AgentRefused,
    GuestAgent,
)

from .agent_stand_in import AgentStandIn


@pytest.fixture(params=[("/bin/sh",), ("/bin/busybox", "sh")], ids=["dash", "busybox"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> AgentStandIn:
    for folder in ("root", "run"):
        (tmp_path / folder).mkdir()
    return AgentStandIn(tmp_path, shell=request.param)


def agent(guest: AgentStandIn) -> GuestAgent:
    return GuestAgent(guest.send, sleep=lambda _s: None)


def test_a_command_gets_its_input_and_both_outputs_come_back_apart(guest: AgentStandIn) -> None:
    result = agent(guest).execute(["/bin/sh", "-c", "cat; echo to-error >&2; exit 7"], b"by input", 10)
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"by input", b"to-error\n")
    assert not result.truncated


def test_arguments_reach_the_program_as_they_are(guest: AgentStandIn) -> None:
    odd = ["a b", "", "$HOME", "`id`", "'\"", "-n", "*", "é\n", "; false"]
    result = agent(guest).execute(["/usr/bin/printf", "%s|", *odd], b"", 10)
    assert result.stdout.decode() == "".join(f"{word}|" for word in odd)


@pytest.mark.parametrize("size", [0, 1, 48 * 1024, 48 * 1024 + 1, 300_000])
def test_input_of_every_length_arrives_whole_and_leaves_no_file(guest: AgentStandIn, size: int) -> None:
    data = os.urandom(size)
    result = agent(guest).execute(["/bin/cat"], data, 10, output_limit_bytes=10**6)
    assert result.stdout == data
    assert list((guest.root / "run").iterdir()) == []
    assert all(len(json.dumps(asked)) < 80_000 for asked in guest.asked), "no command is too long for libvirt"


@pytest.mark.parametrize("stream", ["1", "2"])
def test_an_endless_output_is_cut_at_the_limit(guest: AgentStandIn, stream: str) -> None:
    result = agent(guest).execute(["/bin/sh", "-c", f"yes >&{stream}"], b"", 10, output_limit_bytes=1000)
    assert result.truncated
    assert len(result.stdout if stream == "1" else result.stderr) == 1000


def test_output_of_exactly_the_limit_is_whole(guest: AgentStandIn) -> None:
    result = agent(guest).execute(["/usr/bin/printf", "x" * 100], b"", 10, output_limit_bytes=100)
    assert (result.stdout, result.truncated) == (b"x" * 100, False)


def test_a_command_that_does_not_end_is_killed_inside_the_guest(guest: AgentStandIn) -> None:
    with pytest.raises(AgentError, match="did not end within 1 s, and was killed"):
        agent(guest).execute(["/bin/sleep", "30"], b"", 0.5)


def test_a_command_that_a_signal_ended_early_is_told_so(guest: AgentStandIn) -> None:
    assert agent(guest).execute(["/bin/sh", "-c", "kill -9 $$"], b"", 10).exit_code == 137


def test_a_missing_program_has_the_shells_exit_code(guest: AgentStandIn) -> None:
    assert agent(guest).execute(["/no/such/program"], b"", 10).exit_code == 127


@pytest.mark.parametrize("argv", [[], [""]])
def test_no_program_is_bad_input(guest: AgentStandIn, argv: list[str]) -> None:
    with pytest.raises(BadInput):
        agent(guest).execute(argv, b"", 10)
    assert guest.asked == []


def test_too_much_input_is_refused_before_anything_is_sent(guest: AgentStandIn) -> None:
    with pytest.raises(BadInput):
        agent(guest).execute(["/bin/cat"], bytes(MAX_STDIN_BYTES + 1), 10)
    with pytest.raises(BadInput):
        agent(guest).write_file("/root/x", bytes(MAX_FILE_BYTES + 1), 0o600)
    assert guest.asked == []


@pytest.mark.parametrize("size", [0, 1, 48 * 1024, 200_000])
def test_a_file_arrives_whole_with_its_mode_and_reads_back(guest: AgentStandIn, size: int) -> None:
    data = os.urandom(size)
    agent(guest).write_file("/root/file", data, 0o640)
    file = guest.root / "root/file"
    assert file.read_bytes() == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert agent(guest).read_file("/root/file", size) == data
    assert guest.open_files == {}
    assert [path.name for path in (guest.root / "root").iterdir()] == ["file"]


def test_a_files_mode_is_set_before_its_first_byte(guest: AgentStandIn) -> None:
    agent(guest).write_file("/root/file", b"secret", 0o600)
    order = [asked["execute"] for asked in guest.asked]
    assert order.index("guest-exec") < order.index("guest-file-write")


def test_a_disk_that_fills_up_leaves_nothing_under_the_name(guest: AgentStandIn) -> None:
    guest.replies["guest-file-write"] = '{"return": {"count": 3, "eof": false}}'
    with pytest.raises(AgentError, match="only part"):
        agent(guest).write_file("/root/file", b"four", 0o600)
    assert list((guest.root / "root").iterdir()) == []
    assert guest.open_files == {}


def test_a_file_that_is_replaced_is_never_seen_half_written(guest: AgentStandIn) -> None:
    (guest.root / "root/file").write_bytes(b"old")
    guest.replies["guest-file-flush"] = AgentError("gone")
    with pytest.raises(AgentError):
        agent(guest).write_file("/root/file", b"new", 0o600)
    assert (guest.root / "root/file").read_bytes() == b"old"


def test_a_missing_file_or_folder_is_not_found(guest: AgentStandIn) -> None:
    with pytest.raises(NotFound):
        agent(guest).read_file("/root/nothing", 100)
    with pytest.raises(NotFound):
        agent(guest).write_file("/no-folder/x", b"1", 0o600)


def test_an_agent_that_fell_silent_is_not_taken_for_a_missing_file(guest: AgentStandIn) -> None:
    guest.replies["guest-file-open"] = AgentError("The guest's agent does not answer.")
    with pytest.raises(AgentError, match="does not answer"):
        agent(guest).read_file("/root/file", 100)


def test_a_file_longer_than_the_limit_is_refused_and_closed(guest: AgentStandIn) -> None:
    (guest.root / "root/file").write_bytes(bytes(101))
    with pytest.raises(BadInput, match="larger than 100"):
        agent(guest).read_file("/root/file", 100)
    assert guest.open_files == {}


@pytest.mark.parametrize("path", ["", "relative", "/folder/", "/nul\0byte"])
def test_what_is_no_path_of_a_file_is_refused(guest: AgentStandIn, path: str) -> None:
    with pytest.raises(BadInput):
        agent(guest).write_file(path, b"", 0o600)
    with pytest.raises(BadInput):
        agent(guest).read_file(path, 100)
    assert guest.asked == []


DEEP = '{"return":' + "[" * 100_000 + "]" * 100_000 + "}"
HOSTILE = [
    "", "no json", "[]", "null", '{"error": {"desc": "<script>"}}', '{"return": []}', '{"return": {"pid": true}}',
    '{"return": {"pid": -1}}', '{"return": {"pid": "1"}}', '{"return": {"pid": 1e99}}',
    '{"return": {"pid": 99999999999999999999}}', DEEP, '{"return": {"pid": ' + "9" * 5000 + "}}",
    " " * (9 * 2**20),
]  # fmt: skip


@pytest.mark.parametrize("reply", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_answer_is_an_error_and_is_not_repeated(guest: AgentStandIn, reply: str) -> None:
    guest.replies["guest-exec"] = reply
    with pytest.raises(AgentError) as refused:
        agent(guest).execute(["/bin/true"], b"", 1)
    assert "script" not in refused.value.message + refused.value.hint


HOSTILE_STATUS = [
    '{"exited": true}', '{"exited": true, "exitcode": 256}', '{"exited": true, "exitcode": "0"}',
    '{"exited": true, "exitcode": 0, "out-data": 7}', '{"exited": true, "exitcode": 0, "out-data": "not base64!"}',
    '{"exited": true, "exitcode": 0, "err-data": "\\u00e4"}', '{"exited": true, "signal": 9999}',
]  # fmt: skip


@pytest.mark.parametrize("status", HOSTILE_STATUS, ids=range(len(HOSTILE_STATUS)))
def test_a_hostile_end_of_a_command_is_an_error(guest: AgentStandIn, status: str) -> None:
    guest.replies["guest-exec-status"] = f'{{"return": {status}}}'
    with pytest.raises(AgentError):
        agent(guest).execute(["/bin/true"], b"", 1)


def test_more_output_than_was_asked_for_is_cut_here_too(guest: AgentStandIn) -> None:
    guest.replies["guest-exec-status"] = json.dumps(
        {"return": {"exited": True, "exitcode": 0, "out-data": "AAAA" * MAX_OUTPUT_BYTES}}
    )
    result = agent(guest).execute(["/bin/true"], b"", 1)
    assert (len(result.stdout), result.truncated) == (MAX_OUTPUT_BYTES, True)


def test_an_agent_that_never_says_the_command_ended_is_given_up(guest: AgentStandIn) -> None:
    guest.replies["guest-exec-status"] = '{"return": {"exited": false}}'
    clock = iter(range(100))
    waiting = GuestAgent(guest.send, sleep=lambda _s: None, monotonic=lambda: float(next(clock)))
    with pytest.raises(AgentError, match="did not end"):
        waiting.execute(["/bin/true"], b"", 3)


def test_an_answer_that_never_ends_stops_at_the_limit(guest: AgentStandIn) -> None:
    (guest.root / "root/file").touch()
    guest.replies["guest-file-read"] = json.dumps({"return": {"buf-b64": "AAAA" * 1000, "eof": False}})
    with pytest.raises(BadInput, match="larger"):
        agent(guest).read_file("/root/file", 10_000)


def test_waiting_ends_when_the_agent_answers_or_the_time_is_up(guest: AgentStandIn) -> None:
    clock = iter(range(100))
    waiting = GuestAgent(guest.send, sleep=lambda _s: None, monotonic=lambda: float(next(clock)))
    assert waiting.wait_ready(10) == 1.0
    guest.replies["guest-ping"] = AgentRefused("no")
    with pytest.raises(AgentError, match="did not answer within 10 s"):
        waiting.wait_ready(10)
