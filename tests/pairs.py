"""Tests that mostly wait, or repeat one step some hundred times, run in half of the pairs of loop and place.

``@pytest.mark.crossed`` keeps trio in memory and behind Sentinel, asyncio on one server and in the Cluster. So each loop and
each place is still seen, and what differs between the pairs is proved where it is quick: for the scripts in
``tests/storage``, for the connections in ``tests/connections``, for the whole way in the tests beside.
"""

from __future__ import annotations

import pytest

CROSSED = {"memory": "trio", "server": "asyncio", "sentinel": "trio", "sentinels": "trio", "cluster": "asyncio"}


def halved(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """What is left out, the other half of the tests that are marked, and what runs."""
    left_out = [item for item in items if item.get_closest_marker("crossed") is not None and not _is_kept(item)]
    gone = set(left_out)
    return left_out, [item for item in items if item not in gone]


def _is_kept(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    chosen = item.callspec.params
    [place] = {chosen[name] for name in ("place", "link", "kind", "topology") if name in chosen}
    return chosen["anyio_backend"] == CROSSED[place]
