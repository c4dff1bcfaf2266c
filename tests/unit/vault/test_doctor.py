"""`strongroom doctor`: what it finds in a folder that was tampered with or grew old, and what `--fix` mends."""

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vault.config import Settings
from vault.errors import BadInput
from vault.operations.host import CHECKS, inspect_host
from vault.operations.host_mending import close_files, renew_certificate
from vault.tls import certificate_expires_at, make_certificate


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A folder with what doctor looks at."""
    made = replace(Settings(), data_dir=tmp_path / "main", run_dir=tmp_path / "run", cache_dir=tmp_path / "cache",
                   accelerator="tcg")  # fmt: skip
    made.secrets_dir.mkdir(parents=True, mode=0o700)
    make_certificate(made.secrets_dir, "localhost")
    for path in (made.secrets_dir / "log.key", made.log_db, made.state_db, made.data_dir / "daemon.log"):
        path.touch(mode=0o600)
    return made


def levels(settings: Settings, only: str, *, fix: bool = False, daemon_runs: bool = True) -> dict[str, str]:
    """Levels by name of what one check finds."""
    found = inspect_host(settings, only=only, fix=fix, daemon_runs=daemon_runs)
    return {item["name"]: item["level"] for item in found["items"]}


def age_certificate(settings: Settings, days_left: int, *, issuer: str = "Strongroom") -> None:
    """Put a certificate there that ends in so many days, with the key that is there."""
    key = serialization.load_pem_private_key((settings.secrets_dir / "tls.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=300))
        .not_valid_after(now + timedelta(days=days_left))
        .sign(key, hashes.SHA256())
    )
    (settings.secrets_dir / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def test_files_that_others_can_read_are_found_and_closed_and_the_certificate_stays_public(
    settings: Settings,
) -> None:
    assert levels(settings, "files") == {"files": "ok"}
    loose = [settings.secrets_dir / "log.key", settings.log_db, settings.data_dir / "daemon.log"]
    for path in loose:
        path.chmod(0o644)
    settings.secrets_dir.chmod(0o755)
    assert levels(settings, "files") == {"files": "missing"}
    done = inspect_host(settings, only="files", fix=True)
    assert len(done["done"]) == 4
    assert [item["level"] for item in done["items"]] == ["ok"]
    assert stat.S_IMODE((settings.secrets_dir / "tls.crt").stat().st_mode) == 0o644
    assert close_files(settings) == []


def test_an_old_certificate_is_renewed_with_the_same_key_only_when_somebody_agrees(
    settings: Settings,
) -> None:
    assert levels(settings, "certificate") == {"certificate": "ok"}
    age_certificate(settings, 12)
    assert levels(settings, "certificate") == {"certificate": "advice"}
    before = (settings.secrets_dir / "tls.crt").read_bytes()
    key = (settings.secrets_dir / "tls.key").read_bytes()
    refused = inspect_host(settings, only="certificate", fix=True)
    assert "not renewed" in refused["done"][0]
    assert (settings.secrets_dir / "tls.crt").read_bytes() == before
    renewed = inspect_host(settings, only="certificate", fix=True, agree=lambda _question: True)
    assert "Restart the daemon" in renewed["done"][0]
    assert renewed["items"][0]["level"] == "ok"
    assert certificate_expires_at(settings.secrets_dir) > datetime.now(UTC) + timedelta(days=300)
    assert (settings.secrets_dir / "tls.key").read_bytes() == key
    assert inspect_host(settings, only="certificate", fix=True)["done"] == []


def test_an_expired_certificate_is_missing_and_one_of_an_authority_is_left_alone(settings: Settings) -> None:
    age_certificate(settings, -1)
    assert levels(settings, "certificate") == {"certificate": "missing"}
    age_certificate(settings, 3, issuer="The clinic's authority")
    before = (settings.secrets_dir / "tls.crt").read_bytes()
    assert "authority" in renew_certificate(settings, lambda _question: True)[0]
    assert (settings.secrets_dir / "tls.crt").read_bytes() == before


@pytest.mark.parametrize("broken", [b"", b"no certificate"])
def test_a_broken_certificate_is_told_and_not_replaced(settings: Settings, broken: bytes) -> None:
    (settings.secrets_dir / "tls.crt").write_bytes(broken)
    assert levels(settings, "certificate", fix=True) == {"certificate": "missing"}
    assert (settings.secrets_dir / "tls.crt").read_bytes() == broken


def test_leftovers_are_the_daemons_own_while_it_runs(settings: Settings) -> None:
    settings.memory_dir.mkdir(parents=True, mode=0o700)
    (settings.memory_dir / "left").touch()
    running = inspect_host(settings, only="leftovers", fix=True, daemon_runs=True)
    assert running["items"][0]["level"] == "ok"
    assert (settings.memory_dir / "left").exists()
    assert levels(settings, "leftovers", daemon_runs=False) == {"leftovers": "missing"}


def test_advice_keeps_nothing_back(settings: Settings) -> None:
    for name in ("clock", "core", "settings"):
        assert all(item["ok"] for item in inspect_host(settings, only=name)["items"]), name


def test_a_mistyped_check_is_refused_with_the_one_that_was_meant(settings: Settings) -> None:
    with pytest.raises(BadInput) as refused:
        inspect_host(settings, only="certficate")
    assert "'certificate'" in refused.value.hint
    assert set(CHECKS) > {"memory", "files", "leftovers", "clock", "certificate"}


def test_before_there_is_a_site_nothing_of_it_is_missing(tmp_path: Path) -> None:
    nothing = replace(Settings(), data_dir=tmp_path / "main", run_dir=tmp_path / "run")
    for name in ("files", "certificate"):
        assert all(item["ok"] for item in inspect_host(nothing, only=name, fix=True)["items"])
