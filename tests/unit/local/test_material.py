"""Certificates, passwords, ACL files and configuration: what is made, who can read it, and what is found again."""

from __future__ import annotations

import hashlib
import json
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from secure_queue.errors import ConfigurationError
from secure_queue.local.access import Access
from secure_queue.local.certificates import Certificates, make_certificates
from secure_queue.local.configuration import render
from secure_queue.local.logins import SENTINEL_USERS, SERVER_USERS, keep_logins, users_in, with_passwords
from secure_queue.local.private import private_folder
from secure_queue.local.survey import NodeState, state_of
from secure_queue.redis.topology import Cluster, Sentinel, Tls
from secure_queue.redis.urls import parse_url


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(path: Path) -> list[str]:
    alternatives = x509.load_pem_x509_certificate(path.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return [str(name.value) for name in alternatives.value]


def test_keys_are_private_and_certificates_are_bound_to_their_use(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "tls", ["redis-0.example.net", "10.0.0.1"])
    assert made.are_complete
    assert mode(made.folder) == 0o700
    assert {mode(path) for path in (made.authority_key, made.server_key, made.client_key)} == {0o600}
    assert names_in(made.server) == ["redis-0.example.net", "10.0.0.1"]
    purposes = x509.load_pem_x509_certificate(made.client.read_bytes()).extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert list(purposes.value) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH], "a client cannot play a server"
    context = Tls(ca_certs=made.authority, certfile=made.client, keyfile=made.client_key).context()
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_made_again_they_are_new_under_the_same_authority(tmp_path: Path) -> None:
    first = make_certificates(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    make_certificates(tmp_path)
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"server.pem", "server-key.pem", "client.pem", "client-key.pem"}
    first.authority_key.write_bytes(b"no key")
    with pytest.raises(ConfigurationError, match="unreadable"):
        make_certificates(tmp_path)
    other = make_certificates(tmp_path / "other")
    first.authority_key.write_bytes(other.authority_key.read_bytes())
    with pytest.raises(ConfigurationError, match="is not the key of"):
        make_certificates(tmp_path)


def test_a_folder_that_others_can_open_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        private_folder(tmp_path)
    (file := tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file is no folder"):
        private_folder(file)


def test_an_acl_file_holds_no_password_and_each_user_gets_its_own(tmp_path: Path) -> None:
    names = users_in([*SERVER_USERS, *SENTINEL_USERS])
    assert set(names) == {"app", "admin", "replica", "sentinel"}
    logins = keep_logins(tmp_path / "passwords.json", names)
    text = with_passwords(SERVER_USERS, logins)
    for name in names:
        password = logins.of(name).reveal()
        assert password.decode() not in text
        assert f"user {name} on resetpass #{hashlib.sha256(password).hexdigest()} " in text
    assert text.startswith("user default off resetpass "), "nobody needs no password, because nobody gets in"
    assert mode(tmp_path / "passwords.json") == 0o600


def test_passwords_are_found_again_and_missing_ones_added(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    file.touch(0o600)
    file.write_text(json.dumps({"app": "given-by-hand-0123456789"}))
    logins = keep_logins(file, ["app", "admin"])
    assert logins.of("app").reveal() == b"given-by-hand-0123456789"
    assert keep_logins(file, ["app", "admin"]).of("admin").reveal() == logins.of("admin").reveal()


@pytest.mark.parametrize(
    ("text", "permissions", "message"),
    [
        ('{"app": "short"}', 0o600, "fewer than 16"),
        ("[]", 0o600, "one JSON object"),
        ("{", 0o600, "one JSON object"),
        ('{"app": "given-by-hand-0123456789"}', 0o644, "chmod 600"),
    ],
)
def test_a_file_of_passwords_that_will_not_do_says_why(
    text: str, permissions: int, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "passwords.json"
    file.write_text(text)
    file.chmod(permissions)
    with pytest.raises(ConfigurationError, match=message) as caught:
        keep_logins(file, ["app"])
    assert "by-hand" not in str(caught.value)


def test_what_is_said_for_one_process_replaces_what_is_shared() -> None:
    shared = "# a comment\nport 6379\nsentinel monitor mymaster 10.0.0.1 6379 2\nappendonly yes\nportly 1\n\n"
    text = render(shared, {"port": "7100", "sentinel monitor": "mymaster 127.0.0.1 7000 2"})
    assert text == "port 7100\nsentinel monitor mymaster 127.0.0.1 7000 2\nappendonly yes\nportly 1\n"


def test_a_url_leads_to_what_it_was_made_for(tmp_path: Path) -> None:
    logins = keep_logins(tmp_path / "passwords.json", ["app"])
    access = Access(Certificates(tmp_path), logins, tmp_path)
    group = parse_url(access.url("+sentinel", [1, 2, 3], "/mymaster"))
    assert isinstance(group, Sentinel) and len(group.monitors) == 3
    for server in (group.primary, *group.monitors):
        assert server.username == "app" and server.password is not None and server.tls is not None
        assert server.password.reveal() == logins.of("app").reveal()
        assert server.tls.certfile == tmp_path / "client.pem"
    cluster = parse_url(access.url("+cluster", [1]))
    assert isinstance(cluster, Cluster) and cluster.seeds[0].password is not None
    assert str(parse_url(Access().url("", [7100]))) == "127.0.0.1:7100"


def test_the_state_of_a_process_is_what_it_says_itself() -> None:
    primary = (
        "redis_mode:standalone\r\nrole:master\r\nconnected_slaves:1\r\nused_memory:100\r\ndb0:keys=3,expires=0\r\n"
    )
    assert state_of("a", 1, primary) == NodeState("a", 1, "primary", "1 replica", 3, 100)
    replica = "redis_mode:cluster\r\nrole:slave\r\nmaster_port:7100\r\nmaster_link_status:down\r\n"
    assert state_of("b", 2, replica) == NodeState("b", 2, "replica", "of 7100, down")
    sentinel = "redis_mode:sentinel\r\nmaster0:name=m,status=odown,address=127.0.0.1:7100,slaves=2,sentinels=3\r\n"
    assert state_of("c", 3, sentinel) == NodeState("c", 3, "sentinel", "watches 7100: odown, 3 sentinels")
