"""Type stubs: ``@worker.task async def fetch(url: str) -> int: ...`` re-declares the signature in the backend."""

from __future__ import annotations

import pytest

from secure_queue import ConfigurationError, SecureQueueError
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["task", "stub"])
async def test_a_signature_is_enough_to_enqueue(place: Place, how: str) -> None:
    backend, worker = place.worker(), place.worker()

    @worker.task(name="fetch")
    async def real(url: str) -> int:
        return len(url)

    @getattr(backend, how)(name="fetch")
    async def fetch(url: str) -> int: ...  # type: ignore[empty-body]

    async with backend, running(worker):
        task = await fetch.enqueue("https://example.org")
        assert (await task.result(timeout=PATIENCE)).result == 19


async def test_a_stub_is_never_run_instead_of_the_code(place: Place) -> None:
    """⚠ In streaQ a backend that also runs tasks would run the empty body and call it a result."""
    backend, worker = place.worker(), place.worker()

    @worker.task(name="answer")
    async def real() -> int:
        return 42

    @backend.stub(expire=60)
    async def answer() -> int: ...  # type: ignore[empty-body]

    with pytest.raises(SecureQueueError, match="not here"):
        await answer()
    async with running(backend):
        task = await backend.enqueue_by_name(answer.fn_name).start(delay=0)
        backend_only = task.id
    with pytest.raises(ConfigurationError, match="registered already"):
        backend.task(name=answer.fn_name)(real.fn)
    worker.registry[answer.fn_name] = real
    async with running(worker):
        assert (await worker.result_by_id(backend_only, timeout=PATIENCE)).result == 42
