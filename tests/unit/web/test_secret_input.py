import io
from pathlib import Path

import pytest

from web.cli.failure import BadUsage
from web.cli.secret_input import only_one_reads_stdin, read_secret


class Stdin(io.TextIOWrapper):
    """Standard input that is no terminal."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))


def test_one_line_feed_at_the_end_of_a_file_is_not_part_of_the_secret(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes(b"correct horse\n")
    assert read_secret(str(file), "Passphrase", "--passphrase-file") == "correct horse"
    file.write_bytes(b"correct horse\n\n")
    assert read_secret(str(file), "Passphrase", "--passphrase-file") == "correct horse\n"


def test_a_secret_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b"from a pipe\n"))
    assert read_secret("-", "Passphrase", "--passphrase-file") == "from a pipe"


def test_without_file_and_terminal_nobody_is_asked_and_the_option_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", Stdin(b""))
    with pytest.raises(BadUsage) as refused:
        read_secret(None, "Passphrase", "--passphrase-file")
    assert "--passphrase-file" in refused.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_file_that_cannot_be_a_secret_is_refused_without_being_quoted(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes(content)
    with pytest.raises(BadUsage) as refused:
        read_secret(str(file), "Passphrase", "--passphrase-file")
    assert "xxx" not in refused.value.message


def test_a_missing_file_is_bad_usage_and_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="nowhere"):
        read_secret(str(tmp_path / "nowhere"), "Passphrase", "--passphrase-file")


def test_a_secret_others_may_read_is_used_but_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"too open\n")
    file.chmod(0o644)
    assert read_secret(str(file), "Passphrase", "--passphrase-file") == "too open"
    assert "chmod 600" in capsys.readouterr().err


def test_two_secrets_from_standard_input_are_refused() -> None:
    only_one_reads_stdin("-", None, "/a/file")
    with pytest.raises(BadUsage):
        only_one_reads_stdin("-", "-")
