"""``tasks`` as string import paths, lazily imported, so there are no circular imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from secure_queue import ConfigurationError, SecureQueueError
from tests.features.litestar_fullstack import app_tasks
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio
HERE = "tests.features.litestar_fullstack.app_tasks"


async def test_a_path_is_a_task_that_is_enqueued_by_its_name(place: Place) -> None:
    worker = place.worker(tasks=[f"{HERE}.send_welcome_email", app_tasks.renamed], routers=[f"{HERE}:router"])
    user = uuid4()
    async with worker:
        task = await worker.enqueue_by_name("send_welcome_email", user_id=user)
    async with running(worker):
        assert (await task.result(timeout=PATIENCE)).result == f"UUID {user}"
        charged = await worker.enqueue_by_name("billing.charge", 5)
        assert (await charged.result(timeout=PATIENCE)).result == 7


async def test_what_a_path_declares_can_be_enqueued_at_once_and_called_never(place: Place) -> None:
    worker = place.worker()
    send = worker.add(f"{HERE}.send_welcome_email", timeout=9, name="welcome")
    assert (send.fn_name, send.settings.timeout_s) == ("welcome", 9)
    with pytest.raises(SecureQueueError, match="not here"):
        await send(uuid4())
    async with running(worker):
        assert (await (await send.enqueue(uuid4())).result(timeout=PATIENCE)).success


@pytest.mark.parametrize(
    ("path", "options", "word"),
    [
        ("no.such.module", {}, "cannot be imported"),
        (f"{HERE}.no_such_function", {}, "cannot be imported"),
        ("word", {}, "names a module and what stands there"),
        (f"{HERE}.NOT_A_FUNCTION", {}, "no function"),
        (f"{HERE}.charge", {}, "named 'billing.charge'"),
        (f"{HERE}.charge", {"name": "billing.charge", "timeout": 3}, "options where it is declared"),
        (f"{HERE}.", {}, "names a module and what stands there"),
    ],
)
async def test_a_path_that_leads_nowhere_is_told_before_any_task_runs(
    place: Place, path: str, options: dict[str, object], word: str
) -> None:
    worker = place.worker()
    with pytest.raises(ConfigurationError, match=word):
        worker.add(path, **options)  # type: ignore[arg-type]
        await worker.run_async()


async def test_a_path_of_no_router_is_told_too(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="names a module and what stands there"):
        place.worker(routers=["word"])
    with pytest.raises(ConfigurationError, match=f"{HERE}.charge' is no Router"):
        await place.worker(routers=[f"{HERE}.charge"]).run_async()


async def test_a_task_of_a_router_can_be_named_by_its_path(place: Place) -> None:
    worker = place.worker()
    worker.add(f"{HERE}.charge", name="billing.charge")
    async with running(worker):
        task = await worker.enqueue_by_name("billing.charge", 1)
        assert (await task.result(timeout=PATIENCE)).result == 7


def test_a_producer_imports_none_of_them() -> None:
    program = (
        "import sys; from secure_queue import Worker;"
        f"w = Worker('memory://', tasks=['{HERE}.charge'], routers=['{HERE}.router']); print('{HERE}' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
