"""The application that the system tests run as real worker processes: ``python -m tests.system.app``.

Every task leaves a line in a journal, so that a test can see what really ran, how often, and where.
"""

from __future__ import annotations

import logging
import os
import time

import anyio

from secure_queue import ConcurrencyLimit, Worker

SECRET = "vJq3bXw0-kT9dPzR5mYc1uN7hLs2aGf8eQx4oViW6Z0"
JOURNAL = "SECURE_QUEUE_TEST_JOURNAL"


def make_worker(url: str, **options: object) -> Worker[None]:
    """A worker object with all tasks of this application; *options* go to ``Worker``."""
    worker: Worker[None] = Worker(url, signing_secret=SECRET, queue_name="system", **options)  # type: ignore[arg-type]

    @worker.task(ttl=60, max_tries=5)
    async def mark(number: int, seconds: float = 0.0) -> int:
        _note("start", number)
        await anyio.sleep(seconds)
        _note("end", number)
        return number

    @worker.task(ttl=60, max_tries=5)
    async def block(number: int, seconds: float) -> int:
        _note("start", number)
        time.sleep(seconds)  # noqa: ASYNC251 - the point of it
        _note("end", number)
        return number

    @worker.task(ttl=60, max_tries=5, limits=ConcurrencyLimit(1))
    async def alone(number: int, seconds: float = 0.0) -> int:
        _note("start", number)
        await anyio.sleep(0.0 if alone.context.tries > 1 else seconds)
        _note("end", number)
        return number

    @worker.task(ttl=0)
    async def noop() -> None: ...

    return worker


def _note(event: str, number: int) -> None:
    line = f"{event} {number} {os.getpid()} {mark_of_try()}\n".encode()
    journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(journal, line)  # one short write in append mode: lines of several processes do not mix
    finally:
        os.close(journal)


def mark_of_try() -> int:
    """The number of the try that is going on."""
    from secure_queue.tasks import current_run

    return current_run.get().context().tries


def main() -> None:
    """Run tasks at the URL and with the options that the environment gives."""
    options = dict(word.split("=") for word in os.environ.get("SECURE_QUEUE_TEST_OPTIONS", "").split())
    numbers = {name: float(value) if "." in value else int(value) for name, value in options.items()}
    worker = make_worker(os.environ["SECURE_QUEUE_URL"], **numbers)
    logging.basicConfig(level=logging.INFO)
    worker.run_sync()


if __name__ == "__main__":
    main()
