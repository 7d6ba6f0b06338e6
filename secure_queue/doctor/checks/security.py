"""Checks of who may do what: encryption on the way, logins, rights that are missing and rights that are too many."""

from __future__ import annotations

from collections.abc import Iterator

from secure_queue.doctor.facts import Facts, NodeFacts
from secure_queue.doctor.findings import ALL_NODES, SERVERS, Check, NodeCheck, Problem, WholeCheck, fail, unknown, warn

CERTIFICATE_DAYS = 14


def encryption(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Whoever reads the network reads arguments and results, and the password."""
    if node.told.get("tls.version"):
        yield from _certificate(node)
    elif not node.is_here:
        yield warn(
            "the connection is not encrypted", "tls-port there, and rediss:// (rediss+sentinel://, rediss+cluster://)"
        )


def _certificate(node: NodeFacts) -> Iterator[Problem]:
    if node.told.get("tls.checks_name") == "no":
        yield warn(
            "the host name in its certificate is not checked", "remove ssl_check_hostname=false; put the name into it"
        )
    days = float(node.told.get("tls.days", CERTIFICATE_DAYS))
    if days < CERTIFICATE_DAYS:
        yield (fail if days <= 0 else warn)(
            f"its certificate ends in {max(days, 0):.0f} days", "renew it, CONFIG SET tls-cert-file to load it"
        )


def login(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """Whoever reaches a server without a login can delete every task, and end failover."""
    if node.told.get("login") == "no" and node.host and not _shows_certificate(node):
        yield (warn if node.is_here else fail)(
            "everybody who reaches it may do everything: it asks for no password",
            "set requirepass or ACL users there, and user:password@ in the URL",
        )


def _shows_certificate(node: NodeFacts) -> bool:
    """Whether it lets in only who has a certificate; where it does not tell, that we show one speaks for it."""
    own = node.told.get("tls.own_certificate") == "yes"
    return own and node.told.get("config.tls-auth-clients", "yes") == "yes"


def dangerous(node: NodeFacts, _: Facts) -> Iterator[Problem]:
    """What a stolen password of the queue should not be able to do."""
    if granted := node.told["acl.dangerous"]:
        yield warn(
            f"the user {node.told.get('acl.user', '')} of this queue may call {granted}",
            "give the queue a user of its own: ACL SETUSER … -@all and what docs/doctor.md lists",
        )


def rights(facts: Facts) -> Iterator[Problem]:
    """Every command that scripts and clients send must be allowed, on the keys and the channels of the queue."""
    for partition in facts.partitions:
        rehearsal = partition.rehearsal
        if rehearsal is None:
            yield unknown(f"nothing could be tried: {partition.problem}", where=partition.tag)
        elif rehearsal.refusal:
            yield fail(
                rehearsal.refusal,
                f"ACL SETUSER <user> ~{partition.key_prefix}* &{partition.key_prefix}* and what docs/doctor.md lists",
                partition.tag,
            )
        elif rehearsal.denied:
            words = [f"+{word}" for word in rehearsal.denied]
            if {"publish", "subscribe"} & set(rehearsal.denied):
                words.append(f"&{partition.key_prefix}done:*")
            yield fail(
                f"this user may not call {', '.join(rehearsal.denied)}",
                f"ACL SETUSER <user> {' '.join(words)}",
                partition.tag,
            )


CHECKS: tuple[Check, ...] = (
    NodeCheck("tls", "connections are encrypted or stay on this machine", encryption, ALL_NODES),
    NodeCheck("login", "servers ask for a login", login, ALL_NODES),
    WholeCheck("rights", "the user may do all that the queue needs", rights, Facts.all_partitions),
    NodeCheck("dangerous", "the user may do no more than that", dangerous, SERVERS, ("acl.dangerous",)),
)
