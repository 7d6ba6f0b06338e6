"""Functions of an application that uses SAQ's way: plain, and named by their path."""

from __future__ import annotations

from collections.abc import Callable

ran: list[str] = []
on_run: Callable[[], None] = lambda: None  # noqa: E731 - replaced by the test


async def upkeep() -> None:
    """Notes that it ran."""
    ran.append("upkeep")
    on_run()
