"""`/metrics`: who reads it, what it tells, what it never tells, and what it costs the log."""

import time
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from audit.errors import LogUnavailable
from audit.log.record import Draft, Kind, Record
from policies.vocabulary import Role
from tests.unit.web.site_under_test import PASSWORD, PEOPLE
from vault.model import Account, Job, JobState
from vault.operations.sessions import login
from vault.site import Site

Bearer = Callable[[str], dict[str, str]]


def figures(answer: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by name and labels, read by Prometheus' own parser."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer)
        for sample in family.samples
    }


def scrape(
    anybody: FlaskClient, headers: dict[str, str]
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = anybody.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return figures(answer.text)


@pytest.fixture
def monitor(site: Site) -> dict[str, str]:
    """The header of a service account that may read figures and nothing else."""
    ada = site.accounts.by_name("ada-admin")
    assert ada is not None
    with site.database.session() as session:
        session.add(
            Account(id="id-mona", name="mona-monitor", roles=[Role.MONITOR], service=True,
                    password_hash=ada.password_hash)
        )  # fmt: skip
    return {"Authorization": f"Bearer {login(site, 'api', 'mona-monitor', PASSWORD, '127.0.0.1')['token']}"}


def test_nobody_reads_figures_without_a_log_in(anybody: FlaskClient) -> None:
    answer = anybody.get("/metrics")
    assert answer.status_code == 401
    assert "strongroom_" not in answer.text


def test_an_account_without_a_role_is_denied_and_the_denial_is_recorded(
    site: Site, anybody: FlaskClient, monitor: dict[str, str]
) -> None:
    with site.database.session() as session:
        session.get_one(Account, "id-mona").roles = []
    answer = anybody.get("/metrics", headers=monitor)
    assert answer.status_code == 403
    assert site.reader.by_id(answer.get_json()["error"]["record"]).action == "metrics.read"


def test_a_monitor_reads_figures_and_nothing_else(anybody: FlaskClient, monitor: dict[str, str]) -> None:
    assert anybody.get("/metrics", headers=monitor).status_code == 200
    for address in ("/api/v1/guests", "/api/v1/log/records", "/api/v1/accounts", "/api/v1/host/inspection"):
        assert anybody.get(address, headers=monitor).status_code == 403, address


def test_the_figures_are_those_of_the_site(site: Site, anybody: FlaskClient, monitor: dict[str, str]) -> None:
    site.findings.open("guest.unknown_domain", resource="guest:1", sentence="s")
    with site.database.session() as session:
        session.add(Job(account_id="id-mona", action="guest.start", subject="web-1", state=JobState.FAILED))
    anybody.get("/no/such/place")
    found = scrape(anybody, monitor)
    assert found["strongroom_keystore_sealed", ()] == 1
    assert found["strongroom_gate_stopped", ()] == 0
    # The read itself is recorded after the figures were taken.
    assert found["strongroom_log_records_total", ()] == site.log.head().size - 1
    assert found["strongroom_findings_open", (("severity", "high"),)] == 1
    assert found["strongroom_findings_open", (("severity", "critical"),)] == 0
    assert found["strongroom_jobs", (("state", "failed"),)] == 1
    assert found["strongroom_guests", (("state", "stopped"),)] == 2
    assert found["strongroom_disk_free_bytes", ()] > 0
    assert found["strongroom_certificate_expiry_timestamp_seconds", ()] > time.time()
    assert (
        found["strongroom_http_requests_total", (("method", "GET"), ("route", "none"), ("status", "404"))]
        == 1
    )
    assert found["process_resident_memory_bytes", ()] > 0
    again = scrape(anybody, monitor)
    route = (("method", "GET"), ("route", "/metrics"), ("status", "200"))
    assert again["strongroom_http_requests_total", route] == 1
    assert (
        again["strongroom_decisions_total", (("verdict", "allow"),)] == 2
    )  # the log-in and the first scrape
    assert again["strongroom_log_append_duration_seconds_count", ()] == 3  # the log-in's outcome too


def test_a_scrape_every_few_seconds_is_one_record(
    site: Site, anybody: FlaskClient, monitor: dict[str, str]
) -> None:
    before = site.log.head().size
    for _ in range(20):
        scrape(anybody, monitor)
    assert site.log.head().size == before + 1


def test_no_label_tells_a_name_an_id_or_what_a_client_made_up(
    anybody: FlaskClient, bearer: Bearer, monitor: dict[str, str]
) -> None:
    olga = bearer("olga-operator")
    anybody.get("/api/v1/guests/clinic-db", headers=olga)
    anybody.post("/api/v1/guests/clinic-db/start", headers=olga, json={})
    anybody.open("/api/v1/guests", method="MAGIC-1")
    anybody.open("/api/v1/guests", method="MAGIC-2")
    answer = anybody.get("/metrics", headers=monitor).text
    told = " ".join(
        value for family in text_string_to_metric_families(answer) for sample in family.samples
        for value in sample.labels.values()
    )  # fmt: skip
    for secret in (
        "clinic-db",
        "web-1",
        "guest-1",
        "MAGIC",
        "mona",
        *PEOPLE,
        *(f"id-{name}" for name in PEOPLE),
    ):
        assert secret not in told, secret


def test_a_stopped_gate_is_seen_although_nothing_may_be_read(
    site: Site, anybody: FlaskClient, monitor: dict[str, str]
) -> None:
    site.gate._stopped_by = "an-intent"
    found = scrape(anybody, monitor)
    assert found["strongroom_gate_stopped", ()] == 1
    assert not [name for name, _ in found if name in {"strongroom_guests", "strongroom_findings_open"}]
    assert anybody.get("/metrics").status_code == 401


def test_a_log_that_cannot_be_written_leaves_what_anybody_may_see(
    site: Site, anybody: FlaskClient, monitor: dict[str, str]
) -> None:
    class NoLog:
        def append(self, _draft: Draft, _timeout_s: float = 0) -> Record:
            raise LogUnavailable("The log cannot be written; nothing was done.")

    site.gate._log = NoLog()
    found = scrape(anybody, monitor)
    assert found["strongroom_keystore_sealed", ()] == 1
    assert not [name for name, _ in found if name == "strongroom_guests"]


def test_the_overview_says_what_to_do_where_something_is_off(
    site: Site, anybody: FlaskClient, bearer: Bearer
) -> None:
    site.findings.open("disk.unreadable", resource="guest:1", sentence="s")
    found = anybody.get("/api/v1/overview", headers=bearer("olga-operator")).get_json()
    assert [one["code"] for one in found["advice"]] == ["sealed", "findings"]
    assert found["findings"]["critical"] == 1
    assert found["guests"] == {"running": 0, "stopped": 2, "creating": 0, "deleting": 0}
    assert found["log"]["size"] >= 1
    assert {"since", "disk", "certificate_expires_at", "jobs", "sealed", "accelerator"} <= set(found)


def test_counting_costs_the_gate_less_than_a_tenth_of_an_append(site: Site) -> None:
    from web.metrics import Metrics  # noqa: PLC0415

    metrics = Metrics()
    record = site.gate.record(
        Draft(kind=Kind.SYSTEM, principal="os:daemon", action="system.stop", resource="site:site",
              result={"code": "ok", "facts": {}})
    )  # fmt: skip
    begun = time.perf_counter()
    for _ in range(50):
        site.gate.record(
            Draft(kind=Kind.SYSTEM, principal="os:daemon", action="system.stop", resource="site:site",
                  result={"code": "ok", "facts": {}})
        )  # fmt: skip
    append_s = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(50):
        metrics.count_record(record, 0.0002)
    assert time.perf_counter() - begun < append_s / 10
