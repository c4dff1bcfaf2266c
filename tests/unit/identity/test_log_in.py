"""Logging in through the real policy and gate: what is recorded, and what a stranger can learn."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from policies.bundle import shipped
from policies.engine import PolicyEngine
from policies.vocabulary import Action
from tests.fakes.log import LogInMemory
from tests.unit.identity.bench import PASSWORD, Bench
from vault.database import Database
from vault.entities import EntityBuilder
from vault.errors import NotFound
from vault.gate import Gate
from vault.identity.accounts import Accounts, BadCredentials
from vault.identity.personal import new_personal_key, open_for_person
from vault.identity.sessions import Sessions
from vault.journal import SafeJournal
from vault.model import LoginSession
from vault.operations import accounts, sessions
from vault.site import Site

ADDRESS = "192.0.2.44"


@dataclass
class PartOfSite:
    """What logging in uses of a site."""

    gate: Gate
    accounts: Accounts
    sessions: Sessions
    database: Database


class Door:
    """A site with people and no guests."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.log = LogInMemory()
        gate = Gate(
            PolicyEngine(shipped()), EntityBuilder(self.bench.database), self.log, SafeJournal(folder / "j")
        )
        part = PartOfSite(gate, self.bench.accounts, self.bench.sessions, self.bench.database)
        self.site = cast("Site", part)

    def log_in(self, name: str = "olga-operator", password: str = PASSWORD) -> dict[str, Any]:
        return sessions.login(self.site, "web", name, password, ADDRESS)

    def refused_s(self, name: str, password: str = "wrong passw0rd") -> float:  # noqa: S107 - nobody has it
        began = time.perf_counter()
        with pytest.raises(BadCredentials):
            self.log_in(name, password)
        return time.perf_counter() - began


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    made = Door(tmp_path)
    yield made
    made.bench.database.close()


def test_neither_token_nor_password_nor_address_nor_name_is_in_any_record(door: Door) -> None:
    _, public = new_personal_key()
    olga = door.bench.account()
    door.bench.change(olga.id, personal_public_key=public)
    token = door.log_in()["token"]
    login, caller = sessions.authenticate(door.site, token, "cli", ADDRESS)
    made = accounts.create_token(door.site, caller, "for-the-backup", 5)
    accounts.revoke_token(door.site, caller, made["id"])
    with pytest.raises(BadCredentials):
        door.log_in(password="wrong passw0rd")
    with pytest.raises(BadCredentials):
        door.log_in("typed-my-passw0rd-here")
    sessions.logout(door.site, caller)
    written = b"\n".join(record.bytes for record in door.log.records)
    for secret in (token, made["token"], PASSWORD, "wrong passw0rd", "typed-my", ADDRESS, "olga", "backup"):
        assert secret.encode() not in written
    assert login.session.id.encode() in written


def test_channel_and_sealed_address_are_in_the_record_and_open_for_the_person(door: Door) -> None:
    private, public = new_personal_key()
    olga = door.bench.account()
    door.bench.change(olga.id, personal_public_key=public)
    answer = door.log_in()
    source = door.log.records[0].source
    assert source is not None
    assert source["channel"] == "web"
    assert open_for_person(bytes(private), str(source["address"])) == ADDRESS
    with door.bench.database.session() as session:
        assert session.get_one(LoginSession, answer["session"]).channel == "web"


def test_somebody_without_a_personal_key_logs_in_and_leaves_no_address(door: Door) -> None:
    door.bench.account()
    door.log_in()
    assert [record.source for record in door.log.records] == [{"channel": "web", "address": None}] * 2


def test_disabled_locked_unknown_and_wrong_are_one_answer_after_the_same_work(door: Door) -> None:
    bench = door.bench
    bench.account()
    disabled = bench.account("dora-disabled")
    bench.accounts.disable(bench.permit(Action.ACCOUNT_DISABLE, disabled), disabled.id)
    bench.account("lotte-locked")
    for _ in range(3):
        door.refused_s("lotte-locked")
    cases = {
        name: min(door.refused_s(name, PASSWORD) for _ in range(2))
        for name in ("nobody-at-all", "dora-disabled", "lotte-locked")
    }
    cases["wrong"] = min(door.refused_s("olga-operator") for _ in range(2))
    assert min(cases.values()) > 0.5 * max(cases.values()), cases


def test_every_refused_log_in_names_its_record(door: Door) -> None:
    door.bench.account()
    for name in ("olga-operator", "nobody-at-all"):
        with pytest.raises(BadCredentials) as caught:
            door.log_in(name, "wrong passw0rd")
        assert caught.value.record in {record.id for record in door.log.records}


def test_text_in_the_place_of_a_tokens_id_never_reaches_the_log(door: Door) -> None:
    door.bench.account()
    _, caller = sessions.authenticate(door.site, door.log_in()["token"], "cli", ADDRESS)
    for text in ("the patient's name", "e\u0301", "\ud800"):
        with pytest.raises((NotFound, UnicodeEncodeError)):
            accounts.revoke_token(door.site, caller, text)
    assert b"patient" not in b"\n".join(record.bytes for record in door.log.records)
    intents = {record.id for record in door.log.records if record.kind == "intent"}
    assert intents == {record.intent for record in door.log.records if record.kind == "outcome"}
