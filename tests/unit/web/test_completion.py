"""Shell completion: real shells complete with the scripts that `strongroom completion` prints."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.main import get_command

from tests.unit.web.fake_daemon import Answer, CommandLine, FakeDaemon, refusal
from web.cli.completion_names import ANSWER_S
from web.cli.completion_words import read_words
from web.cli.main import app

SHELLS = ("bash", "zsh", "fish")
#: What stands on the line, the last word unfinished, and what it may become.
LINES: list[tuple[list[str], set[str]]] = [
    (["gu"], {"guest"}),
    (["guest", "st"], {"start", "stop"}),
    (["guest", "start", "--wa"], {"--wait", "--watch"}),
    (["guest", "start", "--no"], {"--no-wait"}),
    (["account", "create", "joe", "--role", "op"], {"operator"}),
    (["guest", "create", "x", "--label", "e"], {"ephi"}),
    (["guest", "show", "clin"], {"clinic-db"}),
    (["--as", "olga", "guest", "stop", "clin"], {"clinic-db-of-olga"}),
    (["guest", "--as", "olga", "stop", "clin"], {"clinic-db-of-olga"}),
    (["guest", "create", "x", "--image", "deb"], {"debian-12"}),
    (["audit", "list", "--decision", "un"], {"unmet"}),
]


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def strongroom(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(daemon, capsys, tmp_path, monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH whose `strongroom` knows names without a daemon, and tells when it is asked for anything else."""
    program = tmp_path / "bin" / "strongroom"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '  "completion names guest") echo clinic-db; echo web-1 ;;\n'
        '  "--as olga completion names guest") echo clinic-db-of-olga ;;\n'
        "  \"completion names image\") echo debian-12; echo '$(touch pwned)' ;;\n"
        f'  *) echo "$*" >> {tmp_path}/asked ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def in_bash(script: Path, words: list[str]) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in ["strongroom", *words])
    line = (
        f"source {script}; complete -p strongroom >/dev/null || exit 9; COMP_WORDS=({quoted}); "
        f"COMP_CWORD={len(words)}; _strongroom; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return ["bash", "--norc", "-c", line]


def in_zsh(script: Path, words: list[str]) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in ["strongroom", *words])
    # Outside its line editor zsh has no compadd; what it would be given is what counts.
    line = (
        f"compdef() {{ :; }}; compadd() {{ print -rl -- $found | grep -e '^{words[-1]}'; }}; source {script}; "
        f"words=({quoted}); CURRENT={len(words) + 1}; _strongroom"
    )
    return ["zsh", "-f", "-c", line]


def in_fish(script: Path, words: list[str]) -> list[str]:
    line = " ".join(["strongroom", *words])
    return ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("words", "wanted"), LINES, ids=" ".join)
def test_a_real_shell_completes_the_line(
    strongroom: CommandLine, tmp_path: Path, path: str, shell: str, words: list[str], wanted: set[str]
) -> None:
    script = tmp_path / "script"
    script.write_text(strongroom("completion", shell).out)
    made: dict[str, Callable[[Path, list[str]], list[str]]] = {
        "bash": in_bash,
        "zsh": in_zsh,
        "fish": in_fish,
    }
    ended = subprocess.run(
        made[shell](script, words), env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}, cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.stderr == ""
    assert {line.split("\t")[0] for line in ended.stdout.split("\n") if line} == wanted
    assert not (tmp_path / "pwned").exists(), "what the daemon answers was evaluated"
    if "show" not in words and "stop" not in words and "--image" not in words:
        assert not (tmp_path / "asked").exists(), "static words needed the program"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_accepts_the_script(strongroom: CommandLine, tmp_path: Path, shell: str) -> None:
    script = tmp_path / "script"
    script.write_text(strongroom("completion", shell).out)
    assert shutil.which(shell) is not None, f"{shell} is installed by .ci/prepare-host"
    assert subprocess.run([shell, "-n", script], capture_output=True, check=False, timeout=60).returncode == 0


def test_names_come_from_the_daemon_as_one_view(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    daemon.on("GET", "/api/v1/guests", {"items": [{"name": "web-1"}, {"name": "clinic-db"}], "next": None})
    assert strongroom("completion", "names", "guest").out == "web-1\nclinic-db\n"
    assert daemon.asked[0].url.params["view"] == "completion"


@pytest.mark.parametrize(
    "answer",
    [
        refusal("policy.denied", 3, 403),
        refusal("session.expired", 3, 401),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(200, text="<html>"),
        {"items": [{"id": 7}, {"name": "bell\x07"}], "next": None},
    ],
)
def test_whatever_goes_wrong_there_are_no_names_and_no_words(
    strongroom: CommandLine, daemon: FakeDaemon, answer: Answer | dict[str, Any]
) -> None:
    daemon.on("GET", "/api/v1/guests", answer)
    ended = strongroom("completion", "names", "guest")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_nobody_waits_long_for_a_word() -> None:
    assert ANSWER_S <= 2


def test_profiles_are_completed_without_the_daemon(strongroom: CommandLine, daemon: FakeDaemon) -> None:
    assert strongroom("completion", "names", "profile").out == "default\n"
    assert not daemon.asked


def test_kinds_are_named_for_arguments_that_there_are() -> None:
    command = get_command(app)
    known = {one.path: one for one in read_words(command)}
    for path, one in known.items():
        found: Any = command
        for word in path.split():
            found = found.commands[word]
        wanted = [param for param in found.params if param.param_type_name == "argument"]
        assert len(one.arguments) <= len(wanted), path
        named = {param.name for param in wanted} & {"job_id", "finding_id", "key_id", "token_id"}
        assert not named or one.arguments, (
            f"say in web/cli/completion_words.py what the arguments of {path!r} are"
        )


def test_the_program_is_asked_only_for_names(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("strongroom")
    ended = subprocess.run(
        [program, "completion", "names", "guests"], capture_output=True, text=True, check=False, timeout=60,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert ended.returncode == 2
    assert "Did you mean 'guest'?" in ended.stderr
