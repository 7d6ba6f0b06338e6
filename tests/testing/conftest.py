"""An application under test: its worker object names a server that does not exist."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from secure_queue import Retry, Worker
from tests.worker.places import SECRET

START = datetime(2030, 1, 1, tzinfo=UTC)
NOWHERE = "redis://queue.invalid:6379"


@dataclass
class Shop:
    """An application; ``did`` is what its tasks have done."""

    worker: Worker[Any]
    did: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        @self.worker.task(name="send")
        async def send(user: int, *, text: str = "hello") -> str:
            self.did.append((user, text))
            return f"{text} {user}"

        @self.worker.task(name="order")
        async def order(user: int) -> None:
            self.did.append(f"order {user}")
            await send.enqueue(user, text="thanks")
            await send.enqueue(user, text="rate us").start(delay=3600)

        @self.worker.task(name="flaky", max_tries=3, retry_policy=lambda tries: 60.0 * tries)
        async def flaky(successful_try: int) -> int:
            tries: int = flaky.context.tries
            self.did.append(f"try {tries}")
            if tries < successful_try:
                raise Retry("not yet")
            return tries

        self.send, self.order, self.flaky = send, order, flaky


@pytest.fixture
def shop() -> Shop:
    return Shop(Worker(NOWHERE, queue_name="shop", signing_secret=SECRET))
