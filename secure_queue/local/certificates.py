"""The TLS material of a private deployment: an authority of its own, a certificate for its servers, one for its clients.

The only place beside the ciphers that knows cryptography: what is made here protects the way to the servers, and no payload.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from secure_queue.errors import ConfigurationError
from secure_queue.local.private import private_folder, read_private, write_private

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
AUTHORITY_DAYS, LEAF_DAYS = 3650, 365
_SKEW = datetime.timedelta(hours=1)  # the clock of a server may be behind


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the files lie. The key of the authority belongs on no server; who has it can make certificates."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate by which both sides know each other."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The key that signs certificates."""
        return self.folder / "ca-key.pem"

    @property
    def server(self) -> Path:
        """What a server shows to its clients, and to its peers."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """The key of the servers."""
        return self.folder / "server-key.pem"

    @property
    def client(self) -> Path:
        """What an application shows to a server."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The key of the applications."""
        return self.folder / "client-key.pem"

    @property
    def are_complete(self) -> bool:
        """Whether a topology can be started with what is there."""
        files = (self.authority, self.server, self.server_key, self.client, self.client_key)
        return all(file.is_file() for file in files)


def make_certificates(folder: Path, names: Sequence[str] = LOOPBACK_NAMES, days: int = LEAF_DAYS) -> Certificates:
    """Write fresh certificates for servers with these host *names* or addresses, and for clients.

    An authority that is already there goes on: what it has signed before stays valid, so that one process after the
    other can be given the new files.
    """
    made = Certificates(private_folder(folder))
    authority = _read_authority(made) if made.authority_key.exists() else _make_authority(made)
    server = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # it is the client of its peers
    authority.issue(made.server, made.server_key, names[0], names, server, days)
    authority.issue(made.client, made.client_key, "secure_queue client", (), [ExtendedKeyUsageOID.CLIENT_AUTH], days)
    return made


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(
        self, path: Path, key_path: Path, title: str, names: Sequence[str], uses: list[x509.ObjectIdentifier], days: int
    ) -> None:
        """Write a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_named(title), self.certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names:
            alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
            builder = builder.add_extension(alternatives, critical=False)
        write_private(key_path, _pem_of(key))
        _write_public(path, builder.sign(self.key, hashes.SHA256()))


def _make_authority(files: Certificates) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("secure_queue authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(files.authority_key, _pem_of(key))
    _write_public(files.authority, certificate)
    return _Authority(key, certificate)


def _read_authority(files: Certificates) -> _Authority:
    try:
        key = serialization.load_pem_private_key(read_private(files.authority_key), password=None)
        certificate = x509.load_pem_x509_certificate(files.authority.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{files.authority_key} or {files.authority} is unreadable; restore both, or name a new folder"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigurationError(f"{files.authority_key} is not the key of {files.authority}; restore both")
    return _Authority(key, certificate)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _named(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise ConfigurationError(f"{name!r} is no host name and no address; name what clients connect to") from error


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_public(path: Path, certificate: x509.Certificate) -> None:
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM))
    path.chmod(0o644)
