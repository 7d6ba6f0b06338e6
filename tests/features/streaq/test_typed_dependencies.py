"""Typed dependencies: what ``lifespan`` yields is the context, and its type flows to the tasks (``Worker[Context]``)."""

from __future__ import annotations

import tomllib

import pytest

from tests.features.streaq import typed_app
from tests.servers import PATIENCE
from tests.tour.blocks import ROOT
from tests.worker.places import SECRET, Place, running

pytestmark = pytest.mark.anyio


async def test_a_dataclass_or_a_named_tuple_reaches_the_tasks(place: Place) -> None:
    worker = typed_app.shop(place.url, SECRET)
    async with running(worker):
        task = await worker.enqueue_by_name("pages_of", "a")
        assert (await task.result(timeout=PATIENCE)).result == 7


def test_the_types_of_that_program_are_checked_with_those_of_the_library() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert typed_app.__name__ in mypy["modules"]
    assert mypy["strict"]
