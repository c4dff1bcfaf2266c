"""The command line against the real application: one contract from the terminal to the log."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from flask import Flask

from policies.vocabulary import Action
from tests.unit.web.fake_daemon import CommandLine
from tests.unit.web.site_under_test import PASSPHRASE, PASSWORD, start_work
from vault.site import Site


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], str]:
    """Writes a secret into a file that only we may read."""

    def write(text: str) -> str:
        file = tmp_path / f"secret-{abs(hash(text))}"
        file.touch(mode=0o600)
        file.write_text(f"{text}\n")
        return str(file)

    return write


@pytest.fixture
def strongroom(
    app: Flask, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(httpx.WSGITransport(app=app), capsys, tmp_path, monkeypatch)


@pytest.fixture
def people(strongroom: CommandLine, secret: Callable[[str], str]) -> CommandLine:
    """The command line with everybody logged in under a profile of their name."""
    for name in ("ada-admin", "olga-operator", "anna-auditor", "carl-compliance"):
        ended = strongroom("login", name, "--password-file", secret(PASSWORD), "--as", name)
        assert ended.code == 0, ended.err
    return strongroom


def test_status_needs_nobody(strongroom: CommandLine) -> None:
    ended = strongroom("status", "--json")
    assert ended.document["sealed"] is True
    assert "strongroom unseal" in strongroom("status").out


def test_a_token_of_nobody_is_told_to_log_in(strongroom: CommandLine) -> None:
    ended = strongroom("whoami")
    assert (ended.code, ended.err) == (3, "You are not logged in. Run `strongroom login`.\n")


def test_a_wrong_password_is_3_and_recorded(
    site: Site, strongroom: CommandLine, secret: Callable[[str], str]
) -> None:
    ended = strongroom("login", "ada-admin", "--password-file", secret("wrong passw0rd"), "--json")
    assert ended.code == 3
    assert site.reader.by_id(str(ended.document["error"]["record"])).action == "session.login"


def test_unseal_and_seal(people: CommandLine, secret: Callable[[str], str]) -> None:
    wrong = people("unseal", "--passphrase-file", secret("nonsense"), "--as", "ada-admin")
    assert wrong.code == 6
    right = people("unseal", "--passphrase-file", secret(PASSPHRASE.decode()), "--as", "ada-admin")
    assert (right.code, right.out) == (0, "The key store is unsealed.\n")
    assert people("seal", "--as", "ada-admin").out == "The key store is sealed.\n"


def test_the_auditor_is_denied_to_start_and_the_record_can_be_shown(people: CommandLine) -> None:
    ended = people("guest", "start", "clinic-db", "--as", "anna-auditor", "--json")
    assert ended.code == 3
    record = people(
        "audit", "show", ended.document["error"]["record"], "--as", "anna-auditor", "--json"
    ).document
    assert record["kind"] == "denied"
    assert record["policies"] == ["base.auditor-changes-nothing"]
    assert "forbid" in record["policies_text"]["base.auditor-changes-nothing"]
    shown = people("audit", "show", str(record["seq"]), "--as", "anna-auditor").out
    assert "Policies that decided" in shown


def test_a_missing_image_is_4_and_names_the_remedy(people: CommandLine, secret: Callable[[str], str]) -> None:
    people("unseal", "--passphrase-file", secret(PASSPHRASE.decode()), "--as", "ada-admin")
    ended = people(
        "guest", "create", "new", "--image", "nowhere", "--disk", "4G", "--as", "olga-operator", "--json"
    )
    assert ended.code == 4
    assert ended.err.count("\n") == 1


def test_a_guest_with_odd_characters_is_2(people: CommandLine) -> None:
    ended = people("guest", "create", "a/b;c", "--image", "x", "--disk", "4G", "--as", "olga-operator")
    assert ended.code == 2


def test_guests_are_listed_shown_worked_in_and_stopped(people: CommandLine, tmp_path: Path) -> None:
    listed = people("guest", "list", "--as", "olga-operator", "--json").document
    assert [guest["name"] for guest in listed["items"]] == ["clinic-db", "web-1"]
    assert "web-1" in people("guest", "list", "--as", "olga-operator").out
    assert people("guest", "show", "web-1", "--as", "olga-operator", "--json").document["agent"] is True
    assert "768M" in people("guest", "show", "web-1", "--as", "olga-operator").out
    file = tmp_path / "hello"
    file.write_bytes(b"hello\xff")
    assert people("guest", "cp", str(file), "web-1:/root/hello", "--as", "olga-operator").code == 0
    back = tmp_path / "back"
    assert people("guest", "cp", "web-1:/root/hello", str(back), "--as", "olga-operator").code == 0
    assert back.read_bytes() == b"hello\xff"
    stopped = people("guest", "stop", "web-1", "--force", "--as", "olga-operator", "--json")
    assert stopped.document["state"] == "stopped"
    again = people("guest", "exec", "web-1", "--as", "olga-operator", "--", "/bin/true")
    assert again.code == 5


def test_the_operator_may_not_work_inside_a_guest_with_patients_data_without_a_permit(
    people: CommandLine,
) -> None:
    ended = people("guest", "cp", "clinic-db:/etc/shadow", "-", "--as", "ada-admin")
    assert ended.code == 3
    assert ended.out == ""


def test_accounts_tokens_and_a_service(people: CommandLine, secret: Callable[[str], str]) -> None:
    people("unseal", "--passphrase-file", secret(PASSPHRASE.decode()), "--as", "ada-admin")
    made = people(
        "account", "create", "backup-service", "--role", "operator", "--service", "--password-file",
        secret("quite an0ther one"), "--as", "ada-admin", "--json",
    )  # fmt: skip
    assert made.document["service"] is True
    assert "backup-service" in people("account", "list", "--as", "ada-admin").out
    people("login", "backup-service", "--password-file", secret("quite an0ther one"), "--as", "backup")
    token = people("token", "create", "--label", "nightly", "--days", "30", "--as", "backup").out.strip()
    assert people("login", "--token-file", secret(token), "--as", "service").code == 0
    assert people("whoami", "--as", "service", "--json").document["name"] == "backup-service"
    listed = people("token", "list", "--as", "backup", "--json").document["items"]
    assert people("token", "revoke", listed[0]["id"], "--as", "backup").code == 0
    ended = people("whoami", "--as", "service")
    assert ended.code == 3
    assert "ended" in ended.err


def test_log_policies_keys_jobs_and_findings_print_and_are_json(site: Site, people: CommandLine) -> None:
    site.findings.open("host.unprotected", resource="host:host", sentence="A thing.", remedy="Mend it.")
    start_work(site, lambda _progress: {"holds": True}, name="anna-auditor", action=Action.LOG_VERIFY)
    for arguments in (
        ["audit", "list", "--limit", "3"],
        ["audit", "list", "--kind", "access", "--since", "2020-01-01"],
        ["policy", "list"],
        ["key", "list"],
        ["job", "list"],
        ["finding", "list"],
        ["account", "list"],
        ["image", "list"],
        ["report", "list"],
    ):
        plain = people(*arguments, "--as", "anna-auditor")
        assert plain.code == 0, (arguments, plain.err)
        assert plain.out.strip()
        document = people(*arguments, "--as", "anna-auditor", "--json").document
        assert set(document) >= {"items", "next"}, arguments
    assert "There are more" in people("audit", "list", "--limit", "1", "--as", "anna-auditor").out
    assert "@id" in people("policy", "list", "--text", "--as", "anna-auditor").out


def test_a_checkpoint_is_printed_as_the_note_itself(people: CommandLine) -> None:
    note = people("audit", "checkpoint", "--as", "anna-auditor").out
    assert note.startswith("strongroom.test/main\n")
    assert "\N{EM DASH} strongroom.test/main " in note


def test_a_changed_policy_set_is_checked_before_anything_becomes_of_it(
    people: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "cedar"
    folder.mkdir()
    for file in Path("policies/cedar").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert people("policy", "check", str(folder), "--as", "anna-auditor").code == 0
    (folder / "base.cedar").write_text("permit (principal, action, resource);\n")
    ended = people("policy", "check", str(folder), "--as", "anna-auditor", "--json")
    assert ended.code == 2
    assert "base.cedar" in ended.document["error"]["message"]


def test_a_job_that_failed_fails_whoever_waits_for_it(site: Site, people: CommandLine) -> None:
    def work(_progress: object) -> dict[str, str]:
        site.images.get("nowhere")
        return {}

    job = start_work(site, work, action=Action.GUEST_CREATE)
    first = people("job", "wait", job.id, "--as", "olga-operator", "--json")
    second = people("job", "wait", job.id, "--as", "olga-operator", "--json")
    assert first.code == second.code == 4
    assert first.document == second.document
    assert people("job", "show", job.id, "--as", "olga-operator").code == 0


def test_a_log_out_ends_the_session_everywhere(people: CommandLine) -> None:
    token = people.credentials.token("https://localhost:8443", "olga-operator")
    assert people("logout", "--as", "olga-operator").code == 0
    people.credentials.store("https://localhost:8443", "thief", str(token), "olga-operator")
    assert people("guest", "list", "--as", "thief").code == 3


def test_an_export_is_fetched_unpacked_and_verified_without_the_daemon(
    people: CommandLine, tmp_path: Path
) -> None:
    made = people("audit", "export", "--out", str(tmp_path / "export"), "--as", "anna-auditor", "--json")
    assert made.code == 0, made.err
    assert (tmp_path / "export" / "records.jsonl").is_file()
    held = people("verify", str(tmp_path / "export"), "--json")
    assert held.code == 0, held.err
    assert held.document["holds"] is True
    assert people("audit", "export", "--out", str(tmp_path / "export.tar"), "--as", "anna-auditor").code == 0
    assert people("verify", str(tmp_path / "export.tar"), "--json").document["kind"] == held.document["kind"]


def test_one_changed_byte_is_named_with_7(people: CommandLine, tmp_path: Path) -> None:
    people("audit", "export", "--out", str(tmp_path / "export"), "--as", "anna-auditor")
    records = tmp_path / "export" / "records.jsonl"
    records.write_bytes(records.read_bytes().replace(b'"session.login"', b'"session.l0gin"', 1))
    ended = people("verify", str(tmp_path / "export"), "--json")
    assert ended.code == 7
    assert ended.document["holds"] is False
    assert ended.document["first_bad"]["seq"] == 1
    assert ended.err.count("\n") == 1
    assert "FAILED" not in people("verify", str(tmp_path / "export")).err
    nothing = people("verify", str(tmp_path / "nowhere"), "--json")
    assert nothing.code in {2, 10}
    assert json.loads(nothing.out)["error"]["message"]
