"""``rediss://`` speaks only to the server whose name and authority it knows (through a proxy: not every server has TLS)."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secure_queue.errors import ConfigurationError, Unavailable
from secure_queue.redis.connect import open_link
from secure_queue.redis.dialing import CONNECT_TIMEOUT
from secure_queue.redis.urls import parse_url
from tests.chaos.proxy import Proxy
from tests.connections.scripts import ECHO
from tests.servers import PATIENCE, Server

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """A private CA that writes certificates into a folder."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, folder: Path) -> Authority:
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        name = named("test authority")
        certificate = (
            builder(name, name, key, NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    def issue(self, *names: str, until: datetime.datetime = NOW + DAY) -> Path:
        """Key and certificate for *names* (host names or addresses) in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            builder(named(names[0]), self.certificate.subject, key, until)
            .add_extension(x509.SubjectAlternativeName([alternative(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{certificate.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(until)
    )


def usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, key_cert_sign, key_cert_sign, False, False)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls") / "theirs")


@asynccontextmanager
async def tls_in_front_of(
    server: Server,
    certificate: Path,
    *,
    clients_of: Authority | None = None,
    options: dict[str, ssl.TLSVersion] | None = None,
) -> AsyncIterator[int]:
    """The port of a proxy that ends TLS with *certificate* and talks plainly to the unix socket of *server*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name, version in (options or {}).items():
        setattr(context, name, version)
    if clients_of is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients_of.folder / "ca.pem")

    async def handle(client: AnyByteStream) -> None:
        async with client, await anyio.connect_unix(server.unix_path) as upstream, anyio.create_task_group() as group:
            group.start_soon(forward, client, upstream, group)
            await forward(upstream, client, group)

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(plain, context, standard_compatible=False)
    listener.handle_handshake_error = ignore_handshake_error  # type: ignore[method-assign,assignment]
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        yield plain.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()


async def forward(source: AnyByteStream, target: AnyByteStream, group: anyio.abc.TaskGroup) -> None:
    try:
        async for data in source:
            await target.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    group.cancel_scope.cancel()


async def ignore_handshake_error(error: BaseException, stream: AnyByteStream) -> None:
    """The client has refused our certificate, as it should."""
    await anyio.aclose_forcefully(stream)


async def ask(url: str, deadline: float = PATIENCE) -> object:
    async with open_link(parse_url(url)) as link:
        return await link.run(ECHO, [b"key"], [b"value"], deadline)


@pytest.mark.anyio
class TestTls:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_a_server_with_the_right_name_of_the_right_authority_is_used(
        self, real_server: Server, authority: Authority, host: str
    ) -> None:
        async with tls_in_front_of(real_server, authority.issue("localhost", "127.0.0.1")) as port:
            reply = await ask(f"rediss://{host}:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}")
        assert reply == [b"key", b"value"]

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="the names in such a folder are made by openssl")
    async def test_a_folder_of_authorities_does_too(
        self, real_server: Server, authority: Authority, tmp_path: Path
    ) -> None:
        hashed = tmp_path / f"{subject_hash(authority.folder / 'ca.pem')}.0"
        hashed.write_bytes((authority.folder / "ca.pem").read_bytes())
        async with tls_in_front_of(real_server, authority.issue("localhost")) as port:
            assert await ask(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path}") == [b"key", b"value"]

    async def test_a_slow_handshake_is_waited_for(self, real_server: Server, authority: Authority) -> None:
        """On a busy machine all of them are slow, and cut after two seconds none would come to its end."""
        async with tls_in_front_of(real_server, authority.issue("localhost")) as port:
            proxy = Proxy(port, opening_s=CONNECT_TIMEOUT + 0.5)
            async with proxy.serving():
                reply = await ask(f"rediss://localhost:{proxy.port}?ssl_ca_certs={authority.folder / 'ca.pem'}")
        assert reply == [b"key", b"value"]

    @pytest.mark.attack(62)
    async def test_a_wrong_host_name_is_refused_at_once(self, real_server: Server, authority: Authority) -> None:
        async with tls_in_front_of(real_server, authority.issue("some-other-host.example")) as port:
            with pytest.raises(ConfigurationError, match="host name"):
                await ask(f"rediss://localhost:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}")

    async def test_the_host_name_check_can_be_switched_off(self, real_server: Server, authority: Authority) -> None:
        async with tls_in_front_of(real_server, authority.issue("some-other-host.example")) as port:
            ca = authority.folder / "ca.pem"
            reply = await ask(f"rediss://localhost:{port}?ssl_ca_certs={ca}&ssl_check_hostname=false")
        assert reply == [b"key", b"value"]

    @pytest.mark.attack(62)
    @pytest.mark.parametrize("check", ["true", "false"])
    async def test_an_unknown_authority_is_refused(
        self, real_server: Server, authority: Authority, stranger: Authority, check: str
    ) -> None:
        async with tls_in_front_of(real_server, stranger.issue("localhost")) as port:
            for query in (f"ssl_ca_certs={authority.folder / 'ca.pem'}&", ""):
                with pytest.raises(ConfigurationError, match="certificate"):
                    await ask(f"rediss://localhost:{port}?{query}ssl_check_hostname={check}")

    @pytest.mark.attack(62)
    async def test_an_expired_certificate_is_refused(self, real_server: Server, authority: Authority) -> None:
        async with tls_in_front_of(real_server, authority.issue("localhost", until=NOW - DAY)) as port:
            with pytest.raises(ConfigurationError, match="expired"):
                await ask(f"rediss://localhost:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}")

    @pytest.mark.attack(62)
    async def test_old_versions_of_tls_are_refused(self, real_server: Server, authority: Authority) -> None:
        old = {"minimum_version": ssl.TLSVersion.MINIMUM_SUPPORTED, "maximum_version": ssl.TLSVersion.TLSv1_1}
        with pytest.warns(DeprecationWarning):
            proxy = tls_in_front_of(real_server, authority.issue("localhost"), options=old)
            port = await proxy.__aenter__()
        try:
            with pytest.raises(Unavailable):
                await ask(f"rediss://localhost:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}", deadline=0.3)
        finally:
            await proxy.__aexit__(None, None, None)

    async def test_a_client_certificate_is_shown(self, real_server: Server, authority: Authority) -> None:
        certificate, mine = authority.issue("localhost"), authority.issue("client")
        async with tls_in_front_of(real_server, certificate, clients_of=authority) as port:
            url = f"rediss://localhost:{port}?ssl_ca_certs={authority.folder / 'ca.pem'}"
            assert await ask(f"{url}&ssl_certfile={mine}") == [b"key", b"value"]
            with pytest.raises(Unavailable):
                await ask(url, deadline=0.3)

    @pytest.mark.attack(62)
    async def test_a_plain_server_is_not_spoken_to_plainly(self) -> None:
        with Server(tcp=True) as server, pytest.raises(Unavailable):
            await ask(f"rediss://localhost:{server.port}", deadline=0.3)


def subject_hash(certificate: Path) -> str:
    """The name under which OpenSSL looks for an authority in a folder."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
