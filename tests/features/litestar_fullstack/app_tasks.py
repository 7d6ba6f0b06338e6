"""Tasks in the package of a domain, as an application has them; nothing here knows a worker."""

from __future__ import annotations

from uuid import UUID

from secure_queue import Router

router = Router()
NOT_A_FUNCTION = 7


async def send_welcome_email(user_id: UUID) -> str:
    """A plain function."""
    return f"{type(user_id).__name__} {user_id}"


@router.task(name="billing.charge", max_tries=7)
async def charge(amount: int) -> int | None:
    """A task of a router; it tells how often it may be tried."""
    return charge.context.max_tries if amount else None


@router.task
async def renamed() -> None:
    """A task under its own name."""
