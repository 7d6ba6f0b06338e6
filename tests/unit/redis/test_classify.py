"""One function says which errors are worth another try, in the spelling of Redis 6.2 and of 7."""

from __future__ import annotations

import ssl

import anyio
import pytest
from coredis import exceptions
from coredis.parser import Parser

from secure_queue.errors import Backpressure, ConfigurationError, SecureQueueError, ServerError, Unavailable
from secure_queue.redis.link import NotConfirmed, WrongType
from secure_queue.redis.retrying import FIRST_PAUSE, LONGEST_PAUSE, Fault, classify, pause, repeat, translate

WRAPPED = "ERR Error running script (call to f_0123456789abcdef): @user_script:7: "


def replied(text: str) -> Exception:
    """The exception that coredis makes of an error reply."""
    return Parser().parse_error(text)


def caused(cause: Exception) -> Exception:
    """What coredis makes of an error that ends a connection attempt."""
    error = exceptions.ConnectionError("Unable to establish a connection")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("lost"),
        TimeoutError("EVALSHA timed out"),
        ConnectionResetError(),
        OSError(113, "no route"),
        anyio.ClosedResourceError(),
        anyio.BrokenResourceError(),
        exceptions.InvalidResponse("garbage"),
        exceptions.PrimaryNotFoundError("none"),
        exceptions.StalePrimaryError("demoted"),
        exceptions.ReplicationError(b"EVALSHA", 1, 1000),
        exceptions.ClusterError("Maximum retries exhausted"),
        exceptions.RedisClusterError("no node"),
        caused(ssl.SSLError(1, "wrong version number")),
        replied("READONLY You can't write against a read only replica."),
        replied("LOADING Redis is loading the dataset in memory"),
        replied("NOREPLICAS Not enough good replicas to write."),
        replied("MASTERDOWN Link with MASTER is down"),
        replied("MISCONF Redis is configured to save RDB snapshots"),
        replied("BUSY Redis is busy running a script."),
        replied("TRYAGAIN Multiple keys request during rehashing of slot"),
        replied("CLUSTERDOWN The cluster is down"),
        replied("MOVED 1 127.0.0.1:7001"),
        replied("ASK 1 127.0.0.1:7001"),
        replied("UNBLOCKED force unblock from blocking operation"),
        replied("EXECABORT Transaction discarded"),
        replied("ERR max number of clients reached"),
        replied(WRAPPED + "-READONLY You can't write against a read only replica."),
        replied(WRAPPED + "@user_script: 7: -NOREPLICAS Not enough good replicas to write."),
        ExceptionGroup("both", [TimeoutError(), exceptions.ConnectionError()]),
    ],
)
def test_faults_that_pass_are_transient(error: Exception) -> None:
    assert classify(error) is Fault.TRANSIENT


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:1.",
            Fault.OUT_OF_MEMORY,
        ),
        (WRAPPED + "@user_script: 7: -OOM command not allowed when used memory > 'maxmemory'.", Fault.OUT_OF_MEMORY),
        (WRAPPED + "-OOM command not allowed when used memory > 'maxmemory'.", Fault.OUT_OF_MEMORY),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Fault.WRONG_TYPE),
        (WRAPPED + "WRONGTYPE Operation against a key holding the wrong kind of value", Fault.WRONG_TYPE),
        ("NOSCRIPT No matching script. Please use EVAL.", Fault.NO_SCRIPT),
        ("NOAUTH Authentication required.", Fault.FATAL),
        ("WRONGPASS invalid username-password pair or user is disabled.", Fault.FATAL),
        ("NOPERM this user has no permissions to run the 'evalsha' command", Fault.FATAL),
        ("CROSSSLOT Keys in request don't hash to the same slot", Fault.FATAL),
        ("ERR syntax error", Fault.FATAL),
        ("ERR unknown command 'EVALSHA'", Fault.FATAL),
        ("ERR DB index is out of range", Fault.FATAL),
        ("ERR value is LOADING something", Fault.FATAL),
    ],
)
def test_replies_are_told_apart_by_their_code(text: str, fault: Fault) -> None:
    assert classify(replied(text)) is fault


def test_a_refused_certificate_is_not_tried_again() -> None:
    assert classify(caused(ssl.SSLCertVerificationError(1, "self-signed certificate"))) is Fault.FATAL


def test_a_group_is_as_bad_as_its_worst_error() -> None:
    assert classify(ExceptionGroup("both", [TimeoutError(), replied("ERR syntax error")])) is Fault.FATAL


def test_a_bug_of_the_caller_is_no_fault_of_the_server() -> None:
    assert classify(TypeError("LOADING")) is Fault.FATAL


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (replied("OOM command not allowed"), Backpressure, "memory limit"),
        (replied("WRONGTYPE Operation"), WrongType, "another type"),
        (replied("WRONGPASS invalid"), ConfigurationError, "user and password"),
        (replied("NOAUTH Authentication required."), ConfigurationError, "user and password"),
        (replied("NOPERM no permissions to run 'evalsha'"), ConfigurationError, "ACL"),
        (replied("ERR unknown command 'HELLO'"), ConfigurationError, "6.2"),
        (replied("ERR DB index is out of range"), ServerError, "DB index"),
        (caused(ssl.SSLCertVerificationError(1, "x")), ConfigurationError, "ssl_ca_certs"),
    ],
)
def test_what_cannot_be_cured_says_what_to_check(error: Exception, kind: type[SecureQueueError], says: str) -> None:
    translated = translate(error, "db.example:6379")
    assert type(translated) is kind
    assert says in str(translated)
    assert "db.example:6379" in str(translated)


def test_an_unknown_command_is_reported_without_its_arguments() -> None:
    text = "ERR unknown command 'EVALSHA', with args beginning with: 'a-payload'"
    assert "a-payload" not in str(translate(replied(text), "h"))


def test_pauses_double_up_to_a_limit_and_spread() -> None:
    assert pause(1, 1.0) == FIRST_PAUSE
    assert pause(2, 1.0) == 2 * FIRST_PAUSE
    assert pause(1, 0.0) == FIRST_PAUSE / 2
    assert pause(1000, 1.0) == LONGEST_PAUSE


@pytest.mark.parametrize("last", [NotConfirmed("1 of 2 replicas have confirmed"), TimeoutError()])
@pytest.mark.anyio
async def test_at_the_deadline_it_is_told_what_is_missing_although_the_last_reply_was_overdue(last: Exception) -> None:
    errors = iter([NotConfirmed("1 of 2 replicas have confirmed")])

    async def attempt(end: float) -> None:
        raise next(errors, last)

    with pytest.raises(Unavailable, match=r"no confirmation from here within .* 1 of 2 replicas"):
        await repeat(attempt, deadline=0.1, server="here")
