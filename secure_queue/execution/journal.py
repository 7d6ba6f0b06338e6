"""What the parts that run tasks need of an audit log; ``audit/log.py`` has it, and the house introduces them."""

from __future__ import annotations

from typing import Protocol


class Journal(Protocol):
    """Takes security events as they happen."""

    def note(self, event: str, **facts: str | bytes | int) -> None:
        """Note an event; never waits."""
        ...

    async def flush(self) -> None:
        """Append what waits to the log."""
        ...
