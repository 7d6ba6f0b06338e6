"""Says from a URL which server holds the queues; no socket is opened here.

A topology is a frozen value. Another kind of deployment is one more value in the union and one more connector in
``connect.py``. A bad URL is a ``TopologyError`` that names the fault and the cure and never shows a password.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from secure_queue.errors import TopologyError
from secure_queue.secret import Secret

DEFAULT_PORT = 6379
_CREDENTIALS = re.compile(r"(?:(?<=://)|^(?!.*://)).*@")  # greedy: a password may hold what it should not
_SECRET_OPTION = re.compile(r"((?:password|username)=)[^&#]*", re.IGNORECASE)
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
_OPTIONS = ("db", "username", "password")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server's certificate is checked and which certificate is shown to it."""

    ca_certs: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """A client context: TLS 1.2 or later, certificate required; a private CA replaces the system's."""
        try:
            context = _default_context(self.ca_certs)
            if self.certfile is not None:
                context.load_cert_chain(self.certfile, self.keyfile)
        except (OSError, ssl.SSLError) as error:
            raise TopologyError("a file named by ssl_ca_certs, ssl_certfile or ssl_keyfile is unreadable") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.check_hostname
        return context


@dataclass(frozen=True, slots=True)
class Standalone:
    """One server, reached over TCP, TLS or a unix socket (``unix_path``; host and port then mean nothing)."""

    host: str = "localhost"
    port: int = DEFAULT_PORT
    db: int = 0
    username: str | None = None
    password: Secret | None = None
    tls: Tls | None = None
    unix_path: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.unix_path or f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A private redis-server: in a temporary directory, or with its data in *folder*, shared by all who name it."""

    folder: Path | None = None
    binary: Path | None = None

    def __str__(self) -> str:
        return f"embedded://{self.folder or ''}"


@dataclass(frozen=True, slots=True)
class Memory:
    """No server: a database inside this process, shared under *name*; without a name it belongs to its owner alone."""

    name: str = ""

    def __str__(self) -> str:
        return f"memory://{self.name}"


Topology: TypeAlias = Standalone | Embedded | Memory


def parse_url(url: str, redis_kwargs: Mapping[str, object] | None = None) -> Topology:
    """Read a server URL; *redis_kwargs* fills in what the URL leaves open. Raises ``TopologyError``."""
    parts = _split(url)
    parse = _SCHEMES.get(parts.scheme)
    if parse is None:
        raise TopologyError(f"unknown scheme in {redact(url)!r}; use one of: {', '.join(f'{s}://' for s in _SCHEMES)}")
    return parse(parts, dict(redis_kwargs or {}))


def redact(url: str) -> str:
    """*url* without its credentials, for messages and logs."""
    return _SECRET_OPTION.sub(r"\1***", _CREDENTIALS.sub("***@", url))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port, parts.hostname  # both are checked only when asked for
    except ValueError as error:  # the text of the error may quote the URL, so it is not kept as the cause
        kind = "port" if "ort" in str(error) else "host"
        raise TopologyError(
            f"the {kind} in {redact(url)!r} is malformed; write redis://host:6379/0 and %-encode a password"
        ) from None
    if not parts.scheme or "://" not in url:
        raise TopologyError(f"{redact(url)!r} has no scheme; write redis://host:6379/0")
    if parts.fragment:
        raise TopologyError(f"{redact(url)!r} contains a '#'; write it as %23 if it belongs to the password")
    return parts


def _parse_tcp(parts: SplitResult, kwargs: dict[str, object]) -> Standalone:
    secure = parts.scheme == "rediss"
    options = _options(parts, kwargs, allowed=_OPTIONS + (_TLS_OPTIONS if secure else ()))
    username, password = _credentials(parts.netloc, options)
    return Standalone(
        host=unquote(parts.hostname or "localhost"),
        port=DEFAULT_PORT if parts.port is None else parts.port,
        db=_database(options.get("db"), parts.path),
        username=username,
        password=password,
        tls=_tls(options) if secure else None,
    )


def _parse_unix(parts: SplitResult, kwargs: dict[str, object]) -> Standalone:
    if parts.netloc.rpartition("@")[2]:
        raise TopologyError("a unix:// URL holds an absolute path; write unix:///run/redis.sock (three slashes)")
    if not parts.path.strip("/"):
        raise TopologyError("a unix:// URL needs the path of the socket; write unix:///run/redis.sock")
    options = _options(parts, kwargs, allowed=_OPTIONS)
    username, password = _credentials(parts.netloc, options)
    db = _database(options.get("db"), "")
    return Standalone(db=db, username=username, password=password, unix_path=unquote(parts.path))


def _parse_embedded(parts: SplitResult, kwargs: dict[str, object]) -> Embedded:
    if parts.netloc:
        raise TopologyError("embedded:// takes an absolute folder; write embedded:///var/lib/app (three slashes)")
    options = _options(parts, kwargs, allowed=("binary",))
    folder = unquote(parts.path)
    return Embedded(
        Path(folder) if folder.strip("/") else None, Path(options["binary"]) if "binary" in options else None
    )


def _parse_memory(parts: SplitResult, kwargs: dict[str, object]) -> Memory:
    _options(parts, kwargs, allowed=())
    if parts.path.strip("/"):
        raise TopologyError("memory:// takes a name and no path; write memory:// or memory://name")
    return Memory(unquote(parts.netloc))


_SCHEMES: dict[str, Callable[[SplitResult, dict[str, object]], Topology]] = {
    "redis": _parse_tcp,
    "rediss": _parse_tcp,
    "unix": _parse_unix,
    "embedded": _parse_embedded,
    "memory": _parse_memory,
}


def _options(parts: SplitResult, kwargs: dict[str, object], *, allowed: tuple[str, ...]) -> dict[str, str]:
    """Options of the URL over those of the program; an unknown one is refused: it would be a silent typing error."""
    options = {name: str(value) for name, value in kwargs.items() if value is not None}
    options |= dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        name = unknown[0] if unknown[0].isidentifier() else "…"  # a stray piece of a password is none
        known = ", ".join(allowed) or "none"
        raise TopologyError(f"unknown option {name!r} for {parts.scheme}://; known: {known}{_hint(name)}")
    return options


def _hint(name: str) -> str:
    return " (ssl_… options need rediss://)" if name.startswith("ssl") else ""


def _credentials(netloc: str, options: dict[str, str]) -> tuple[str | None, Secret | None]:
    user, _, password = netloc.rpartition("@")[0].partition(":")
    username = unquote(user) or options.get("username") or None
    secret = unquote(password) or options.get("password") or ""
    if username and not secret:
        raise TopologyError(
            "the URL names a user but no password; write redis://user:password@host or redis://:password@host"
        )
    return username, Secret(secret.encode()) if secret else None


def _database(option: str | None, path: str) -> int:
    text = option if option is not None else path.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise TopologyError("the path or db= is not a database number; write redis://host:6379/0")
    return int(text)


def _tls(options: dict[str, str]) -> Tls:
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
        check_hostname=_switch("ssl_check_hostname", options.get("ssl_check_hostname", "true")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _switch(name: str, text: str) -> bool:
    if text.lower() not in _YES + _NO:
        raise TopologyError(f"{name} is {text!r}; write true or false")
    return text.lower() in _YES


def _default_context(ca_certs: Path | None) -> ssl.SSLContext:
    """The context of the standard library: it loads the system's CAs only if none is named."""
    if ca_certs is not None and ca_certs.is_dir():
        return ssl.create_default_context(capath=ca_certs)
    return ssl.create_default_context(cafile=ca_certs)
