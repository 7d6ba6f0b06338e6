"""Asks one server everything that checks want to know. A refusal is a fact like any other; nothing here raises for one.

Settings are asked for by name, so that no password is ever read.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

import anyio
from anyio.streams.tls import TLSAttribute

from secure_queue.clock import now_ms
from secure_queue.doctor.facts import NodeFacts, Role
from secure_queue.doctor.parsing import dangerous_rules, info_lines, members, plain
from secure_queue.errors import SecureQueueError
from secure_queue.names import printable
from secure_queue.redis.dialing import CONNECT_TIMEOUT, REPLY_TIMEOUT, open_pool
from secure_queue.redis.informants import Informant
from secure_queue.redis.retrying import Fault, classify, is_server_fault, translate
from secure_queue.redis.topology import Standalone

SETTINGS: Final = (
    "save",
    "appendfsync",
    "stop-writes-on-bgsave-error",
    "maxclients",
    "timeout",
    "tcp-keepalive",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "repl-backlog-size",
    "tls-auth-clients",
)
CLUSTER_SETTINGS: Final = ("cluster-node-timeout", "cluster-require-full-coverage", "cluster-allow-reads-when-down")
DANGEROUS: Final = (
    ("flushall",),
    ("keys", "*"),
    ("shutdown",),
    ("config|set", "maxmemory", "0"),
    ("replicaof", "no", "one"),
    ("acl|setuser", "x"),
    ("debug", "sleep", "0"),
)
HARMLESS: Final = (("LASTSAVE",), ("SLOWLOG", "LEN"))
"""They only read, but are of the dangerous category: they speak for it where nobody may look at the rules."""
MAY_NOT: Final = "this user may not call {}"
NODE_S: Final = 20.0
_DAY_S: Final = 86_400


class Asker:
    """One server that is being asked; what it tells and refuses adds up."""

    def __init__(self, server: Standalone, informant: Informant) -> None:
        self.server = server
        self.told: dict[str, str] = {"login": "no" if server.password is None else "yes"}
        self.refused: dict[str, str] = {}
        self._informant = informant

    async def ask(self, source: str, *parts: str) -> Any:
        """The reply, or None after a refusal, which is noted under *source*."""
        try:
            return await self._informant.ask(*parts)
        except Exception as error:
            if not is_server_fault(error):
                raise
            self.refused[source] = refusal(error, self.server, parts[0])
            return None

    async def note(self, source: str, *parts: str) -> None:
        """Ask for a map, and note what is told under *source*."""
        reply = await self.ask(source, *parts)
        if reply is not None:
            self.told |= {f"{source}.{name}": value for name, value in plain(reply).items()}


def refusal(error: BaseException, server: Standalone, command: str = "") -> str:
    """Why a server did not answer, in one line."""
    if classify(error) is Fault.TRANSIENT:
        return f"it does not answer: {printable(str(error) or type(error).__name__, 160)}"
    known = str(error if isinstance(error, SecureQueueError) else translate(error, str(server)))
    if command and "denies a command" in known:
        return MAY_NOT.format(command)
    return printable(known, 200)


async def ask_node(server: Standalone, role: Role, *, in_cluster: bool = False, master: str = "") -> NodeFacts:
    """Everything about one server; *role* is what it is taken for until it says itself."""
    informant = Informant(server, REPLY_TIMEOUT)
    host = "" if server.unix_path is not None else server.host
    asker = Asker(server, informant)
    async with open_pool(informant.pool):
        try:
            informant.pool.release(await informant.pool.get_connection())
        except Exception as error:
            if not is_server_fault(error):
                raise
            return NodeFacts(str(server), host, role, problem=refusal(error, server))
        with anyio.move_on_after(NODE_S):
            return await _asked(asker, host, role, in_cluster, master)
    return NodeFacts(str(server), host, role, problem=f"it has not answered all questions within {NODE_S:g} s")


async def _asked(asker: Asker, host: str, role: Role, in_cluster: bool, master: str) -> NodeFacts:
    raw = await asker.ask("info", "INFO")
    asker.told |= {f"info.{name}": value for name, value in info_lines(raw or b"").items()}
    await _certificate(asker)
    if role is Role.SENTINEL:
        await _sentinel(asker, master)
    else:
        role = {"master": Role.PRIMARY, "slave": Role.REPLICA}.get(asker.told.get("info.role", ""), role)
        await _clock(asker)
        for name in (*SETTINGS, *(CLUSTER_SETTINGS if in_cluster else ())):
            await asker.note("config", "CONFIG", "GET", name)
        await _rights(asker)
    nodes = await _cluster(asker) if in_cluster else None
    known = members(nodes, asker.server.host) if isinstance(nodes, bytes) else ()
    if known:
        asker.told["cluster.nodes"] = str(len(known))
    return NodeFacts(str(asker.server), host, role, "", asker.told, asker.refused, known)


async def _cluster(asker: Asker) -> Any:
    raw = await asker.ask("cluster", "CLUSTER", "INFO")
    asker.told |= {f"cluster.{name}": value for name, value in info_lines(raw or b"").items()}
    return await asker.ask("cluster", "CLUSTER", "NODES")


async def _clock(asker: Asker) -> None:
    """How far the server's clock is ahead of the one here, and how exactly that is known."""
    await asker.ask("clock", "PING")
    before = now_ms()
    reply = await asker.ask("clock", "TIME")
    after = now_ms()
    if reply is not None:
        server_ms = int(reply[0]) * 1000 + int(reply[1]) // 1000
        asker.told["clock.skew_ms"] = str(server_ms - (before + after) / 2)
        asker.told["clock.slack_ms"] = str((after - before) / 2 + 1)


async def _rights(asker: Asker) -> None:
    """Who we are there, and which dangerous commands that user may call."""
    user = await asker.ask("acl", "ACL", "WHOAMI")
    if not isinstance(user, bytes):
        return
    asker.told["acl.user"] = name = printable(user, 64)
    rules = await asker.ask("acl", "ACL", "GETUSER", name)
    if rules is not None:
        asker.told["acl.dangerous"] = await _granted(asker, name, plain(rules).get("commands", ""))
    elif asker.refused["acl"] == MAY_NOT.format("ACL"):
        allowed = [words for words in HARMLESS if await asker.ask("admin", *words) is not None]
        asker.told["acl.dangerous"] = ", ".join(" ".join(words) for words in allowed)


async def _granted(asker: Asker, user: str, rules: str) -> str:
    allowed = [command[0].replace("|", " ").upper() for command in DANGEROUS if await _may(asker, user, command)]
    return dangerous_rules(rules) if "dryrun" in asker.refused else ", ".join(allowed)


async def _may(asker: Asker, user: str, command: tuple[str, ...]) -> bool:
    """Ask without doing it; Redis 6.2 cannot be asked so."""
    if "dryrun" in asker.refused:
        return False
    words = command[0].split("|")
    return bool(await asker.ask("dryrun", "ACL", "DRYRUN", user, *words, *command[1:]) == b"OK")


async def _sentinel(asker: Asker, master: str) -> None:
    """What a sentinel knows of the primary *master*, its replicas and the other sentinels."""
    await asker.note("master", "SENTINEL", "MASTER", master)
    if "master.ip" not in asker.told:
        return
    address = await asker.ask("master", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
    if address:
        asker.told["master.address"] = f"{printable(address[0])}:{printable(address[1])}"
    await asker.ask("ckquorum", "SENTINEL", "CKQUORUM", master)
    for source, command in (("replicas", "REPLICAS"), ("peers", "SENTINELS")):
        listed = [plain(one) for one in await asker.ask(source, "SENTINEL", command, master) or ()]
        asker.told[f"{source}.all"] = " ".join(
            f"{one.get('ip')} {one.get('port')} {one.get('runid') or '?'}" for one in listed
        )
        down = [one.get("name", "") for one in listed if _is_down(one)]
        asker.told[f"{source}.down"] = ", ".join(down)


def _is_down(one: Mapping[str, str]) -> bool:
    return bool({"s_down", "o_down", "disconnected"} & set(one.get("flags", "").split(",")))


async def _certificate(asker: Asker) -> None:
    """The certificate that the server shows; a connection of its own, because coredis keeps its socket to itself."""
    server = asker.server
    if server.tls is None:
        return
    try:
        with anyio.fail_after(CONNECT_TIMEOUT):
            stream = await anyio.connect_tcp(
                server.host, server.port, ssl_context=server.tls.context(), tls_standard_compatible=False
            )
    except (OSError, TimeoutError, ssl.SSLError) as error:
        asker.refused["tls"] = refusal(error, server)
        return
    async with stream:
        attributes = stream.extra_attributes
        shown = attributes[TLSAttribute.peer_certificate]() or {}
        asker.told["tls.version"] = str(attributes[TLSAttribute.tls_version]())
    asker.told["tls.own_certificate"] = "yes" if server.tls.certfile is not None else "no"
    asker.told["tls.checks_name"] = "yes" if server.tls.check_hostname else "no"
    ends = shown.get("notAfter")
    if isinstance(ends, str):
        asker.told["tls.days"] = str((ssl.cert_time_to_seconds(ends) - now_ms() / 1000) / _DAY_S)
