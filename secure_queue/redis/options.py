"""Reads the options that a URL, or the arguments of a program, give for a connection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote

from secure_queue.errors import TopologyError
from secure_queue.redis.topology import Tls
from secure_queue.secret import Secret

TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
TUNING = frozenset(
    [
        "stream_timeout",
        "connect_timeout",
        "pool_timeout",
        "max_connections",
        "max_idle_time",
        "retry_policy",
        "protocol_version",
        "verify_version",
        "client_name",
        "encoding",
        "decode_responses",
        "cache",
        "noreply",
        "noevict",
        "notouch",
        "type_adapter",
    ]
)
"""How a client of coredis shall keep its connections, as programs for streaQ tell it; ours have their own way."""
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def read_options(parts: SplitResult, kwargs: Mapping[str, object], *, allowed: tuple[str, ...]) -> dict[str, str]:
    """Options of the URL over those of the program; an unknown one is refused: it would be a silent typing error."""
    options = texts(kwargs) | dict(parse_qsl(parts.query, keep_blank_values=True))
    refuse_unknown(options, allowed, f"{parts.scheme}://")
    return options


def texts(kwargs: Mapping[str, object]) -> dict[str, str]:
    """Options of the program as a URL would spell them, without ``TUNING``; None stands for one that is not given."""
    return {name: str(value) for name, value in kwargs.items() if value is not None and name not in TUNING}


def refuse_unknown(options: Mapping[str, str], allowed: tuple[str, ...], place: str) -> None:
    """Raise ``TopologyError`` for an option that *place* does not know."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        name = unknown[0] if unknown[0].isidentifier() else "…"  # a stray piece of a password is none
        known = ", ".join(allowed) or "none"
        raise TopologyError(f"unknown option {name!r} for {place}; known: {known}{_hint(name, place)}")


def _hint(name: str, place: str) -> str:
    if name == "ssl_context":
        return " (instead of a context name its files: ssl_ca_certs=, ssl_certfile=, ssl_keyfile=)"
    return " (ssl_… options need rediss://)" if name.startswith("ssl") and not place.startswith("rediss") else ""


def login(netloc: str, options: Mapping[str, str]) -> tuple[str | None, Secret | None]:
    """User and password, from the part of a URL that names its server or from options."""
    user, _, password = netloc.rpartition("@")[0].partition(":")
    username = unquote(user) or options.get("username") or None
    secret = unquote(password) or options.get("password") or ""
    if username and not secret:
        raise TopologyError(
            "the URL names a user but no password; write redis://user:password@host or redis://:password@host"
        )
    return username, Secret(secret.encode()) if secret else None


def database(option: str | None, path: str) -> int:
    """The number of the database, from an option or the path of a URL."""
    text = option if option is not None else path.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise TopologyError("the path or db= is not a database number; write redis://host:6379/0")
    return int(text)


def tls_of(options: Mapping[str, str]) -> Tls:
    """How TLS is spoken, from ``ssl_…`` options."""
    if options.get("ssl_cert_reqs", "required").lower() != "required":
        raise TopologyError(
            "the server's certificate is always checked; name its CA with ssl_ca_certs=/path/ca.pem instead"
        )
    if "ssl_keyfile" in options and "ssl_certfile" not in options:
        raise TopologyError("ssl_keyfile is given without ssl_certfile; give both, or put both into ssl_certfile")
    return Tls(
        ca_certs=_path(options.get("ssl_ca_certs")),
        certfile=_path(options.get("ssl_certfile")),
        keyfile=_path(options.get("ssl_keyfile")),
        check_hostname=switch("ssl_check_hostname", options.get("ssl_check_hostname", "true")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def switch(name: str, text: str) -> bool:
    """A yes or no."""
    if text.lower() not in _YES + _NO:
        raise TopologyError(f"{name} is {text!r}; write true or false")
    return text.lower() in _YES
