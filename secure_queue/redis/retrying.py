"""Repeats an idempotent operation over transient faults until it is confirmed or its deadline has passed.

coredis' own retries are blind (fact 3): its clients here are built without any, and this is the only retry loop. Which
error is worth another try is one pure function, so every call of the library agrees about it.
"""

from __future__ import annotations

import logging
import random
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from time import monotonic
from typing import TypeVar

import anyio
from coredis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterCrossSlotError,
    ConnectionError,
    ExecAbortError,
    InvalidResponse,
    NoScriptError,
    PrimaryNotFoundError,
    ReadOnlyError,
    RedisClusterError,
    RedisError,
    ReplicationError,
    StalePrimaryError,
    UnblockedError,
    UnknownCommandError,
    WrongTypeError,
)

from secure_queue.errors import Backpressure, ConfigurationError, SecureQueueError, ServerError, Unavailable
from secure_queue.redis.link import NotConfirmed, WrongType

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
COMPLAIN_AT = 4  # failures in a row: a reconnect that works at once is no news
COMPLAIN_EVERY = 5.0

_log = logging.getLogger("secure_queue.redis")


class Fault(Enum):
    """What an error of the server or of the connection means for the call that met it."""

    TRANSIENT = "transient"
    NO_SCRIPT = "no-script"
    OUT_OF_MEMORY = "out-of-memory"
    WRONG_TYPE = "wrong-type"
    FATAL = "fatal"


_TRANSIENT = (
    ConnectionError,
    TimeoutError,
    OSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ReadOnlyError,
    StalePrimaryError,
    PrimaryNotFoundError,
    UnblockedError,
    RedisClusterError,
    ReplicationError,
    ExecAbortError,
    NotConfirmed,
    InvalidResponse,  # garbage on the wire; coredis has closed that connection
)
_TRANSIENT_CODES = """
    NOREPLICAS MASTERDOWN LOADING BUSY TRYAGAIN FAILOVER MISCONF READONLY CLUSTERDOWN MOVED ASK UNBLOCKED UNKILLABLE
"""
_CODES = dict.fromkeys(_TRANSIENT_CODES.split(), Fault.TRANSIENT) | {
    "OOM": Fault.OUT_OF_MEMORY,
    "WRONGTYPE": Fault.WRONG_TYPE,
    "NOSCRIPT": Fault.NO_SCRIPT,
}
# Redis 6.2 wraps the error of a command in a script: "Error running script (call to f_…): @user_script:1: -OOM …"
_WRAPPED = re.compile(r"Error running script .*?@user_script: ?\d+: (?:@user_script: ?\d+: )?")
_CODE = re.compile(r"-?([A-Z]{3,})\b")
_DENIED_IN_A_SCRIPT = re.compile(r"The user executing the script can't|ACL failure in script")  # 6.2, and 7 or later


def classify(error: BaseException) -> Fault:
    """Say what *error* means; a group is transient only if all of its errors are."""
    if isinstance(error, BaseExceptionGroup):
        return Fault.TRANSIENT if all(classify(e) is Fault.TRANSIENT for e in error.exceptions) else Fault.FATAL
    if isinstance(error, WrongTypeError):
        return Fault.WRONG_TYPE
    if isinstance(error, NoScriptError):
        return Fault.NO_SCRIPT
    if isinstance(error, ClusterCrossSlotError) or certificate_fault(error) is not None:
        return Fault.FATAL
    if isinstance(error, _TRANSIENT):
        return Fault.TRANSIENT
    return _by_code(str(error)) if isinstance(error, RedisError) else Fault.FATAL


def _by_code(message: str) -> Fault:
    wrapped = _WRAPPED.match(message)
    code = _CODE.match(message, wrapped.end() if wrapped else 0)
    return _CODES.get(code[1], Fault.FATAL) if code else Fault.FATAL


def certificate_fault(error: BaseException) -> ssl.SSLError | None:
    """The refusal of a certificate that lies behind *error*, if any: trying again cannot cure it."""
    return next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)), None)


def is_refused_connection(error: BaseException) -> bool:
    """Whether nobody listens there: the machine is up, and the program is not."""
    *_, root = _causes(error)
    if isinstance(root, BaseExceptionGroup):  # a name with several addresses
        return all(is_refused_connection(one) for one in root.exceptions)
    return isinstance(root, ConnectionRefusedError)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def pause(attempt: int, chance: float) -> float:
    """Seconds to wait after failed attempt number *attempt* (from 1); *chance* in 0..1 spreads the callers."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt - 1, 10)) * (0.5 + chance / 2))


def translate(error: BaseException, server: str) -> SecureQueueError:
    """The error of this library for an *error* that no repetition can cure; it says what to check."""
    fault = classify(error)
    if fault is Fault.OUT_OF_MEMORY:
        return Backpressure(f"{server} has reached its memory limit and refuses new work; nothing was written")
    if fault is Fault.WRONG_TYPE:
        return WrongType(f"a key on {server} holds another type than its structure")
    if refused := certificate_fault(error):
        return ConfigurationError(
            f"the certificate of {server} was refused: {_reason(refused)}; check ssl_ca_certs and the host name"
        )
    if isinstance(error, AuthenticationError):
        return ConfigurationError(f"{server} refused the login; check user and password in the URL")
    if isinstance(error, AuthorizationError) or _DENIED_IN_A_SCRIPT.search(str(error)):
        return ConfigurationError(
            f"{server} denies a command or key to this user; check its ACL rules: {_first_line(error)}"
        )
    if isinstance(error, UnknownCommandError) or "Unknown Redis command called" in str(error):
        return ConfigurationError(
            f"{server} does not know a command that is needed; use Redis 6.2 or later, or Valkey, "
            "and redis+sentinel:// for the address of a sentinel"
        )
    return ServerError(f"{server} refused a request: {_first_line(error)}")


def _reason(error: ssl.SSLError) -> str:
    return str(getattr(error, "verify_message", "") or getattr(error, "reason", "") or "verification failed")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}".rstrip(": ")


async def repeat(
    attempt: Callable[[float], Awaitable[T]],
    *,
    deadline: float,
    server: str,
    on_fault: Callable[[Exception], None] | None = None,
) -> T:
    """Call *attempt* until it succeeds or *deadline* seconds have passed; it is told when that will be (monotonic).

    *on_fault* is called with each failure that is worth another try; what it raises ends the loop.

    Raises ``Unavailable`` at the deadline and the translated error when trying again cannot help. An error that is no
    fault of the server (a wrong argument, say) is a bug of the caller and passes unchanged.
    """
    end = monotonic() + deadline
    failures = 0
    told: Exception | None = None
    while True:
        try:
            return await attempt(end)
        except Exception as error:
            if not is_server_fault(error):
                raise
            if classify(error) not in _REPEATED:
                raise translate(error, server) from error
            failures += 1
            told = _more_telling(told, error)
            if on_fault is not None:
                on_fault(error)
            if failures == COMPLAIN_AT:
                _complain(server, error)
            wait = pause(failures, random.random())  # noqa: S311 - spreads callers, hides nothing
            if monotonic() + wait >= end:
                missing = "confirmation" if isinstance(told, NotConfirmed) else "answer"
                raise Unavailable(
                    f"no {missing} from {server} within {deadline:g} s ({root_cause(told)}); doing the same again is safe"
                ) from error
        await anyio.sleep(wait)


def _more_telling(before: Exception | None, error: Exception) -> Exception:
    """The error that says more about an outage: that a reply is overdue says nothing about the reason."""
    return before if before is not None and isinstance(error, TimeoutError) else error


def _complain(server: str, error: BaseException) -> None:
    """Say once in a while that a server is away; many calls may meet the same outage."""
    now = monotonic()
    if now - _complained.get(server, -COMPLAIN_EVERY) >= COMPLAIN_EVERY:
        _complained[server] = now
        _log.warning("%s does not answer, trying again: %s", server, root_cause(error))


_complained: dict[str, float] = {}
_REPEATED = (Fault.TRANSIENT, Fault.NO_SCRIPT)
_FROM_SERVER = (RedisError, OSError, UnicodeDecodeError, BaseExceptionGroup)


def is_server_fault(error: BaseException) -> bool:
    """Whether the server or the way to it is to blame for *error*, and not the caller."""
    return isinstance(error, _FROM_SERVER) or classify(error) is not Fault.FATAL


def root_cause(error: BaseException) -> str:
    """What lies at the bottom of *error*, in one line."""
    *_, root = _causes(error)
    return _first_line(root)
