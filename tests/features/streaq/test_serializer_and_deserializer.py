"""``serializer=`` and ``deserializer=``: two callables; those of ``json`` work as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secure_queue import ConfigurationError, Worker
from tests.servers import PATIENCE
from tests.worker.places import Place, running

pytestmark = pytest.mark.anyio


async def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


async def loads(text: bytes) -> Any:
    return json.loads(text)


@pytest.mark.parametrize("pair", [(json.dumps, json.loads), (dumps, loads)], ids=["json", "async"])
async def test_arguments_and_results_go_through_both(place: Place, pair: tuple[Any, Any]) -> None:
    worker = place.worker(serializer=pair[0], deserializer=pair[1])

    @worker.task
    async def echo(*args: Any, **kwargs: Any) -> Any:
        return [args, kwargs]

    async with running(worker):
        task = await echo.enqueue(1, "two", three=[3.5, None])
        assert (await task.result(timeout=PATIENCE)).result == [[1, "two"], {"three": [3.5, None]}]


def test_plain_pickle_must_be_asked_for_with_a_list_of_classes() -> None:
    """⚠ In streaQ it is the default."""
    import pickle

    with pytest.raises(ConfigurationError, match="RestrictedPickle"):
        Worker("memory://", serializer=pickle.dumps, deserializer=pickle.loads)
