"""How the processes of a topology are reached: in the clear by anybody, or over TLS, or with logins, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from secure_queue.local.certificates import Certificates
from secure_queue.local.logins import ADMIN, APP, REPLICA, SENTINEL, Logins
from secure_queue.redis.topology import Standalone, Tls

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Access:
    """What clients, operators and peers need; the default is nothing at all."""

    certificates: Certificates | None = None
    logins: Logins | None = None
    folder: Path = Path()
    """Where the ACL files of the servers and of the sentinels lie, if there are logins."""
    user: str = APP
    """Who an application is on a data server, if there are logins."""

    @property
    def server_acl(self) -> Path:
        """The users of a data server."""
        return self.folder / "users.acl"

    @property
    def sentinel_acl(self) -> Path:
        """The users of a sentinel."""
        return self.folder / "sentinel-users.acl"

    def listening(self, port: int) -> dict[str, str]:
        """The options of a process that listens on *port* of the loopback."""
        if self.certificates is None:
            return {"port": str(port), "bind": LOOPBACK}
        files = self.certificates
        return {
            "port": "0",
            "tls-port": str(port),
            "bind": LOOPBACK,
            "tls-cert-file": str(files.server),
            "tls-key-file": str(files.server_key),
            "tls-ca-cert-file": str(files.authority),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
        }

    def on_server(self) -> dict[str, str]:
        """The options of a data server that knows its users."""
        return {"aclfile": str(self.server_acl), **self.login_of_replica()} if self.logins else {}

    def on_sentinel(self, master: str) -> dict[str, str]:
        """The options of a sentinel that knows its users."""
        return {"aclfile": str(self.sentinel_acl), **self.login_of_sentinel(master)} if self.logins else {}

    def login_of_replica(self) -> dict[str, str]:
        """How a data server logs in at the one that it copies."""
        return {"masteruser": REPLICA, "masterauth": self._password(REPLICA)}

    def login_of_sentinel(self, master: str) -> dict[str, str]:
        """How a sentinel logs in at the servers of *master*, and at its peers."""
        return {
            "sentinel auth-user": f"{master} {SENTINEL}",
            "sentinel auth-pass": f"{master} {self._password(SENTINEL)}",
            "sentinel sentinel-user": SENTINEL,
            "sentinel sentinel-pass": self._password(SENTINEL),
        }

    def as_operator(self, port: int) -> Standalone:
        """How the starter of a process reaches it."""
        tls = None
        if self.certificates is not None:
            files = self.certificates
            tls = Tls(ca_certs=files.authority, certfile=files.client, keyfile=files.client_key)
        if self.logins is None:
            return Standalone(LOOPBACK, port, tls=tls)
        return Standalone(LOOPBACK, port, username=ADMIN, password=self.logins.of(ADMIN), tls=tls)

    def url(self, kind: str, ports: Sequence[int], path: str = "") -> str:
        """What an application connects to; *kind* is ``""``, ``+sentinel`` or ``+cluster``."""
        scheme = f"redis{'s' if self.certificates else ''}{kind}"
        hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
        login = f"{self.user}:{quote(self._password(self.user), safe='')}@" if self.logins else ""
        query = self._query(kind)
        return f"{scheme}://{login}{hosts}{path}{'?' if query else ''}{query}"

    def _query(self, kind: str) -> str:
        options: dict[str, str] = {}
        if self.certificates is not None:
            files = self.certificates
            options |= {
                "ssl_ca_certs": str(files.authority),
                "ssl_certfile": str(files.client),
                "ssl_keyfile": str(files.client_key),
            }
        if self.logins is not None and kind == "+sentinel":
            options |= {"sentinel_username": APP, "sentinel_password": self._password(APP)}
        return urlencode(options, safe="/")

    def _password(self, user: str) -> str:
        return self.logins.of(user).reveal().decode() if self.logins else ""


IN_THE_CLEAR = Access()
