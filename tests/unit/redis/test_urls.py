"""URLs become topologies, and bad ones become messages that help and never show a password."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from secure_queue.errors import TopologyError
from secure_queue.redis.topology import Cluster, Embedded, Memory, Sentinel, Standalone, Tls, Topology
from secure_queue.redis.urls import parse_url, redact, which_servers
from secure_queue.secret import Secret


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Standalone()),
        ("redis://localhost", Standalone()),
        ("redis://10.0.0.7:7000/3", Standalone(host="10.0.0.7", port=7000, db=3)),
        ("redis://h/?db=4", Standalone(host="h", db=4)),
        ("redis://h/2?db=4", Standalone(host="h", db=4)),
        ("redis://[::1]:7000", Standalone(host="::1", port=7000)),
        ("redis://:pw@h", Standalone(host="h", password=Secret(b"pw"))),
        ("redis://me:pw@h", Standalone(host="h", username="me", password=Secret(b"pw"))),
        ("redis://a%40b:p%3A%2F%23%25@h", Standalone(host="h", username="a@b", password=Secret(b"p:/#%"))),
        ("redis://:%C3%A4@h", Standalone(host="h", password=Secret("ä".encode()))),
        ("redis://h?username=me&password=p%20w", Standalone(host="h", username="me", password=Secret(b"p w"))),
        ("  redis://h  ", Standalone(host="h")),
        ("REDIS://h", Standalone(host="h")),
        ("rediss://h:6380/1", Standalone(host="h", port=6380, db=1, tls=Tls())),
        ("unix:///run/redis.sock", Standalone(unix_path="/run/redis.sock")),
        ("unix:///run/a%20b.sock?db=2", Standalone(unix_path="/run/a b.sock", db=2)),
        ("unix://me:pw@/run/r.sock", Standalone(unix_path="/run/r.sock", username="me", password=Secret(b"pw"))),
        ("embedded://", Embedded()),
        ("embedded:///", Embedded()),
        ("embedded:///var/lib/app", Embedded(folder=Path("/var/lib/app"))),
        ("embedded:///a%20b?binary=/opt/redis-server", Embedded(Path("/a b"), binary=Path("/opt/redis-server"))),
        ("memory://", Memory()),
        ("memory://tests", Memory("tests")),
    ],
)
def test_a_url_describes_a_server(url: str, expected: object) -> None:
    assert parse_url(url) == expected


def test_tls_options_of_the_url_become_files_and_switches() -> None:
    url = "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_check_hostname=false"
    topology = parse_url(url)
    assert isinstance(topology, Standalone)
    assert topology.tls == Tls(Path("/ca.pem"), Path("/c.pem"), Path("/k.pem"), check_hostname=False)


def test_keyword_options_fill_in_what_the_url_leaves_open() -> None:
    options: dict[str, object] = {"password": "pw", "db": 3, "username": None}
    assert parse_url("redis://h", options) == Standalone(host="h", db=3, password=Secret(b"pw"))
    assert parse_url("redis://:other@h/5", options) == Standalone(host="h", db=3, password=Secret(b"other"))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no scheme"),
        ("localhost:6379", "redis://host:6379/0"),
        ("redis:/h", "no scheme"),
        ("http://h", "redis+sentinel://, rediss+sentinel://, redis+cluster://, rediss+cluster://"),
        ("redis+sentinel://h1,h2", "sentinel_master="),
        ("redis+sentinel:///mymaster", "node is malformed"),
        ("redis+sentinel://h1,,h2/m", "node is malformed"),
        ("redis+sentinel://h1:0/m", "node is malformed"),
        ("redis+sentinel://h1:99999/m", "node is malformed"),
        ("redis+sentinel://h1/m/x", "database number"),
        ("redis+cluster://me:pw@h1,me:pw@h2", "once, before the first host"),
        ("redis+sentinel://me@h1/m", "no password"),
        ("redis+sentinel://h1/m?sentinel_username=me", "no password"),
        ("redis+sentinel://h1/m?ssl_ca_certs=/ca.pem", "rediss"),
        ("redis+cluster://h1,h2/3", "number 0"),
        ("redis+cluster://h1?db=1", "unknown option 'db'"),
        ("redis://h:abc", "port"),
        ("redis://h:99999", "port"),
        ("redis://[::1", "host"),
        ("redis://h/zero", "database number"),
        ("redis://h/-1", "database number"),
        ("redis://h?db=x", "database number"),
        ("redis://h/0/1", "database number"),
        ("redis://me@h", "no password"),
        ("redis://h?colour=red", "unknown option 'colour'"),
        ("redis://h?ssl_ca_certs=/ca.pem", "rediss://"),
        ("rediss://h?ssl_cert_reqs=none", "ssl_ca_certs"),
        ("rediss://h?ssl_cert_reqs=optional", "always checked"),
        ("rediss://h?ssl_check_hostname=perhaps", "true or false"),
        ("rediss://h?ssl_keyfile=/k.pem", "ssl_certfile"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix://", "path of the socket"),
        ("embedded://./folder", "three slashes"),
        ("embedded://folder", "three slashes"),
        ("embedded:///f?appendonly=no", "unknown option"),
        ("memory://name/path", "no path"),
        ("redis://h#x", "%23"),
    ],
)
def test_a_bad_url_names_the_fault_and_the_cure(url: str, says: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse_url(url)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:hunter2@h:abc",
        "http://me:hunter2@h",
        "redis://me:hunter2@h/zero",
        "redis://me:hun#ter2@h",
        "redis://me:hunter2@[::1",
        "redis://h:1?password=hunter2&colour=red",
        "http://h?password=hunter2",
        "redis://me:hun/ter2@h",
        "redis://me:hun?ter2@h",
        "redis://me:hunter2@h:99999",
        "embedded://me:hunter2@/folder",
        "me:hunter2@h",
        "redis://me:1/ter2@h",
        "redis://me:1?ter2@h",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse_url(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "ter2" not in str(error)
        error = error.__cause__


def test_a_url_names_the_sentinels_and_how_to_reach_everybody() -> None:
    topology = parse_url("redis+sentinel://me:pw@h1,h2:7000,[::1]:7001/orders/3?sentinel_password=spw")
    monitors = tuple(
        Standalone(host, port, password=Secret(b"spw")) for host, port in (("h1", 26379), ("h2", 7000), ("::1", 7001))
    )
    primary = Standalone(db=3, username="me", password=Secret(b"pw"))
    assert topology == Sentinel(monitors, "orders", primary)


def test_a_url_names_the_seeds_of_a_cluster() -> None:
    seeds = tuple(Standalone(host, port, password=Secret(b"pw")) for host, port in (("h1", 6379), ("h2", 7000)))
    assert parse_url("redis+cluster://:pw@h1,h2:7000") == Cluster(seeds)


@pytest.mark.parametrize(
    ("options", "of_sentinels"),
    [
        ("ssl_ca_certs=/ca.pem", Tls(Path("/ca.pem"))),
        ("ssl_ca_certs=/ca.pem&sentinel_ssl=false", None),
        ("ssl_ca_certs=/ca.pem&sentinel_ssl_ca_certs=/own.pem", Tls(Path("/own.pem"))),
    ],
)
def test_sentinels_speak_tls_like_the_servers_unless_told_otherwise(options: str, of_sentinels: Tls | None) -> None:
    topology = parse_url(f"rediss+sentinel://h1/m?{options}")
    assert isinstance(topology, Sentinel)
    assert (topology.primary.tls, topology.monitors[0].tls) == (Tls(Path("/ca.pem")), of_sentinels)


def flat(**given: Any) -> Topology:
    options: dict[str, Any] = {"sentinel_nodes": None, "cluster_nodes": None, "sentinel_master": None}
    url = given.pop("url", None)
    kwargs = given.pop("redis_kwargs", {})
    return which_servers(url, kwargs, **(options | {"sentinel_kwargs": {}, "default_url": "redis://default"} | given))


def test_flat_arguments_name_the_servers_too() -> None:
    found = flat(
        sentinel_nodes=[("h1", 1), "h2"],
        redis_kwargs={"password": "pw", "db": 2},
        sentinel_kwargs={"password": "spw", "ssl_ca_certs": "/ca.pem"},
    )
    monitor = {"password": Secret(b"spw"), "tls": Tls(Path("/ca.pem"))}
    monitors = Standalone("h1", 1, **monitor), Standalone("h2", 26379, **monitor)  # type: ignore[arg-type]
    assert found == Sentinel(monitors, "mymaster", Standalone(db=2, password=Secret(b"pw")))
    assert flat(cluster_nodes=[("::1", 7000)], redis_kwargs={"ssl": True}) == Cluster(
        (Standalone("::1", 7000, tls=Tls()),)
    )
    assert flat() == Standalone("default")
    assert flat(url="redis://h") == Standalone("h")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "redis://h", "cluster_nodes": ["h"]}, "give one of them"),
        ({"sentinel_nodes": ["h"], "cluster_nodes": ["h"]}, "give one of them"),
        ({"sentinel_kwargs": {"password": "pw"}}, "sentinel_nodes="),
        ({"sentinel_kwargs": {"password": "pw"}, "cluster_nodes": ["h"]}, "sentinel_nodes="),
        ({"sentinel_master": "mymaster"}, "sentinel_nodes="),
        ({"url": "redis+sentinel://h/one", "sentinel_master": "another"}, "sentinel_nodes="),
        ({"cluster_nodes": ["h"], "sentinel_master": "mymaster"}, "sentinel_nodes="),
        ({"sentinel_nodes": []}, "list of nodes"),
        ({"cluster_nodes": "h:1"}, "list of nodes"),
        ({"cluster_nodes": [("h", 1, 2)]}, "node is malformed"),
        ({"cluster_nodes": [None]}, "node is malformed"),
        ({"sentinel_nodes": ["h"], "sentinel_kwargs": {"colour": "red"}}, "unknown option 'sentinel_colour'"),
        ({"cluster_nodes": ["h"], "redis_kwargs": {"db": 1}}, "unknown option 'db'"),
        (
            {"url": "rediss://h", "redis_kwargs": {"ssl_context": object()}},
            "known: db, username, password, ssl_ca_certs",
        ),
        ({"url": "rediss://h", "redis_kwargs": {"ssl_context": object()}}, "instead of a context name its files"),
    ],
)
def test_flat_arguments_that_make_no_sense_say_so(given: dict[str, Any], says: str) -> None:
    with pytest.raises(TopologyError, match=re.escape(says)):
        flat(**given)


def test_no_repr_shows_a_password() -> None:
    assert "hunter2" not in repr(parse_url("redis://me:hunter2@h"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://me:pw@h:1/0", "redis://***@h:1/0"),
        ("redis://me:p@w@h:1/0", "redis://***@h:1/0"),
        ("redis://h?password=pw&db=1", "redis://h?password=***&db=1"),
    ],
)
def test_redact_hides_credentials(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("topology", "shown"),
    [
        (Standalone("h", 1, password=Secret(b"pw")), "h:1"),
        (Standalone("::1", 1), "[::1]:1"),
        (Standalone(unix_path="/run/r.sock"), "/run/r.sock"),
        (Embedded(), "embedded://"),
        (Embedded(Path("/f")), "embedded:///f"),
        (Memory("m"), "memory://m"),
    ],
)
def test_a_topology_is_shown_by_its_place(topology: object, shown: str) -> None:
    assert str(topology) == shown


def test_tls_checks_certificate_and_host_name_by_default() -> None:
    context = Tls().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_without_the_host_name_check_the_certificate_is_still_required() -> None:
    assert Tls(check_hostname=False).context().verify_mode is ssl.CERT_REQUIRED


def test_a_missing_certificate_file_is_named_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="ssl_ca_certs"):
        Tls(ca_certs=tmp_path / "missing.pem").context()
