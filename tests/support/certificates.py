"""Certificates for the servers and clients of a test."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in memory and as PEM files."""

    made: x509.Certificate
    secret: ec.EllipticCurvePrivateKey
    file: Path
    key: Path


def authority(directory: Path, name: str, *, expired: bool = False) -> Certificate:
    """A self-signed authority. It names localhost, so a server may use it too."""
    return certificate(directory, name, is_authority=True, expired=expired)


def certificate(  # noqa: PLR0913 (the fields of a certificate)
    directory: Path,
    name: str,
    signed_by: Certificate | None = None,
    *,
    host: str = "localhost",
    expired: bool = False,
    is_authority: bool = False,
    password: bytes | None = None,
) -> Certificate:
    """A certificate for `host` whose subject is `name`, on disk in `directory`."""
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    # It signs; that of an authority also signs certificates and lists of revoked ones.
    signs = (True, False, False, False, False, is_authority, is_authority, False, False)
    names: list[x509.GeneralName] = [
        x509.DNSName(host),
        *([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if host == "localhost" else []),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by.made.subject if signed_by else subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now - DAY if expired else now + DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.KeyUsage(*signs), critical=True)
        .sign(signed_by.secret if signed_by else secret, hashes.SHA256())
    )
    made_certificate = Certificate(
        made, secret, directory / f"{name}.crt", directory / f"{name}.key"
    )
    made_certificate.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    made_certificate.key.touch(mode=0o600)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    protect = serialization.BestAvailableEncryption
    encryption = protect(password) if password else serialization.NoEncryption()
    made_certificate.key.write_bytes(secret.private_bytes(*form, encryption))
    return made_certificate
