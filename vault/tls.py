"""The daemon's TLS certificate, made at init: self-signed, for this host's own names.

Clients on the same host trust exactly this certificate; others are given the file. A site with an authority
of its own puts its certificate and key in the same two files.
"""

import ipaddress
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Browsers refuse leaf certificates that live longer.
_VALID_DAYS = 397


def make_certificate(secrets_dir: Path, host: str) -> None:
    """Write `tls.key` (0600) and `tls.crt` for `host`, localhost and this machine's name.

    Args:
        secrets_dir: folder that already exists, 0700.
        host: name or address that the daemon listens on.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Strongroom")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(secrets_dir / "tls.key", private, 0o600)
    _write(secrets_dir / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _names(host: str) -> list[x509.GeneralName]:
    names = {"localhost", socket.gethostname(), host} - {"0.0.0.0", "::"}  # noqa: S104 - left out, not bound
    found: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    for name in sorted(names):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            found.append(x509.DNSName(name))
        else:
            if not address.is_loopback:
                found.append(x509.IPAddress(address))
    return found


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
