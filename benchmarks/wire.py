"""The few words of the Redis protocol that the harness speaks, so that it needs no client library of any contestant."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Self

TIMEOUT_S = 10.0


class WireError(RuntimeError):
    """The server refused a command."""


class Wire:
    """A blocking connection that sends one command at a time; understands simple, bulk, integer and error replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, *words: str) -> str:
        """Send one command and return its reply as text."""
        parts = [word.encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%s" % (len(parts), body))
        return self._reply()

    def count(self, *words: str) -> int:
        """Send one command whose reply is an integer."""
        return int(self.ask(*words))

    def info(self, section: str) -> dict[str, str]:
        """One section of INFO as a mapping."""
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _reply(self) -> str:
        line = self._lines.readline()
        if not line:
            raise WireError("the server closed the connection")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise WireError(rest)
        if kind == b"$":
            return self._lines.read(int(rest) + 2)[:-2].decode()
        return rest
