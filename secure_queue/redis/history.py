"""Notices when the server behind a link holds another history of the data than the one that was written into.

A server that was restarted, and one that was promoted, has another ``run_id``; it is read whenever a connection is opened.
What the old history acknowledged last may be missing in the new one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import cast

from coredis.connection import BaseConnection
from coredis.exceptions import ResponseError

_RUN_ID = re.compile(rb"run_id:(\w+)")

_log = logging.getLogger("secure_queue.redis")


class History:
    """The history that one link writes into."""

    def __init__(self) -> None:
        self._run_id: bytes | None = None
        self._listeners: list[Callable[[], None]] = []
        self._is_blind = False

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever a new history begins."""
        self._listeners.append(listener)

    def goes_on_elsewhere(self) -> None:
        """Another server is primary now; whichever ``run_id`` it has is no further news."""
        self._run_id = None
        self._announce()

    async def look(self, connection: BaseConnection) -> None:
        """Read the ``run_id`` behind a connection that is being opened."""
        try:
            raw = await connection.create_request(b"INFO", b"server", decode=False)
        except ResponseError as error:  # denied to this user, say: then only a change of the primary is noticed
            if not self._is_blind:
                self._is_blind = True
                _log.warning("a restart of the server cannot be noticed, because INFO is refused: %s", error)
            return
        found = _RUN_ID.search(cast(bytes, raw))
        before, self._run_id = self._run_id, found[1] if found else None
        if before is not None and self._run_id not in (None, before):
            self._announce()

    def _announce(self) -> None:
        for listener in self._listeners:
            listener()
