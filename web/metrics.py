"""Figures for Prometheus.

Invariants: no label holds a name or an id, of people, guests or anything else, and each label has few values, whatever
clients send; counting is a few microseconds, for it stands between decision and act (`vault.gate.Gate.watch`).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from audit.log.record import Kind, Record
from vault.model import utc_now
from vault.operations.figures import Figures

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
#: An append takes 0.2 ms alone and 1 ms under load (FACTS.md); beyond 0.1 s the disk is in trouble.
_APPEND_S: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
_REQUEST_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
#: Kinds that carry a decision; an outcome or what came from outside carries none.
_DECIDED: Final = frozenset({Kind.INTENT, Kind.ACCESS, Kind.DENIED, Kind.PENDING})


class Metrics:
    """What one application counts by itself; the rest is read from the site when it is asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "strongroom_http_requests",
            "Requests answered, by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._request_seconds = Histogram(
            "strongroom_http_request_duration_seconds",
            "Time until an answer began.",
            ("route",),
            buckets=_REQUEST_S,
            registry=self._registry,
        )
        decisions = Counter(
            "strongroom_decisions", "Recorded decisions of the policy.", ("verdict",), registry=self._registry
        )
        self._decisions = {verdict: decisions.labels(verdict) for verdict in ("allow", "deny", "unmet")}
        self._append_seconds = Histogram(
            "strongroom_log_append_duration_seconds",
            "Time until a record of an access was durable.",
            buckets=_APPEND_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)

    @staticmethod
    def known_method(method: str) -> str:
        """The method, or `other` for what no address of ours answers: a client may send any word."""
        return method if method in _METHODS else "other"

    def count_request(self, method: str, route: str | None, status: int, took_s: float) -> None:
        """Count an answer; `route` is None where the address leads nowhere."""
        known = route if route is not None else "none"
        self._requests.labels(known, self.known_method(method), str(status)).inc()
        self._request_seconds.labels(known).observe(took_s)

    def count_record(self, record: Record, took_s: float) -> None:
        """Count a record that the gate made and how long it took to become durable."""
        self._append_seconds.observe(took_s)
        if record.kind in _DECIDED and record.decision is not None:
            self._decisions[str(record.decision)].inc()

    def text(self, figures: Figures) -> bytes:
        """Everything, in Prometheus' text format."""
        return self._text(_from_figures(figures))

    def reduced_text(self, standing: Mapping[str, Any]) -> bytes:
        """What is left where the gate lets no read through: what anybody may see anyway, and what was counted."""
        return self._text(_from_standing(standing))

    def _text(self, families: Iterable[Metric]) -> bytes:
        now = CollectorRegistry()
        now.register(_Snapshot(list(families)))
        return generate_latest(self._registry) + generate_latest(now)


class _Snapshot(Collector):
    """Families that were made already, for the library to write."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Hand them out."""
        return self._families


def _from_standing(standing: Mapping[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "strongroom_keystore_sealed", "1 while the key store is sealed.", value=float(standing["sealed"])
    )
    yield GaugeMetricFamily(
        "strongroom_gate_stopped",
        "1 once an outcome could not be recorded, and nothing is done any more.",
        value=float(standing["gate"] == "stopped"),
    )
    yield CounterMetricFamily("strongroom_log_records", "Records in the log.", value=standing["log"]["size"])
    version = GaugeMetricFamily("strongroom_build", "The version that runs.", labels=["version"])
    version.add_metric([standing["version"]], 1)
    yield version


def _from_figures(figures: Figures) -> Iterator[Metric]:
    yield from _from_standing(figures.standing)
    yield _moment("strongroom_opened_timestamp_seconds", "Since when the daemon serves.", figures.opened_at)
    yield GaugeMetricFamily(
        "strongroom_log_unsigned_records",
        "Records that no signed checkpoint covers yet.",
        value=figures.unsigned_records,
    )
    if figures.signed_at is not None:
        yield GaugeMetricFamily(
            "strongroom_log_checkpoint_age_seconds",
            "Age of the newest record that a signed checkpoint covers.",
            value=max(0.0, (utc_now() - figures.signed_at).total_seconds()),
        )
    for name, about, label, counts in (
        ("strongroom_guests", "Guests by state.", "state", figures.guests),
        ("strongroom_jobs", "Jobs by state.", "state", figures.jobs),
        ("strongroom_findings_open", "Open findings by severity.", "severity", figures.findings),
    ):
        family = GaugeMetricFamily(name, about, labels=[label])
        for value, count in counts.items():
            family.add_metric([value], count)
        yield family
    yield GaugeMetricFamily(
        "strongroom_disk_free_bytes", "Free where the data folder lies.", value=figures.disk_free_bytes
    )
    yield GaugeMetricFamily(
        "strongroom_disk_size_bytes", "Size of where the data folder lies.", value=figures.disk_total_bytes
    )
    if figures.certificate_expires_at is not None:
        yield _moment(
            "strongroom_certificate_expiry_timestamp_seconds",
            "When the daemon's certificate ends.",
            figures.certificate_expires_at,
        )


def _moment(name: str, about: str, at: datetime) -> Metric:
    return GaugeMetricFamily(name, about, value=at.timestamp())
