"""Faults that follow one another: everything restarted in turn, and the soak."""

from __future__ import annotations

import random

import anyio

from tests.chaos.case import Fault, Scene
from tests.chaos.client_faults import worker_hangs, worker_killed
from tests.chaos.ledger import Ledger
from tests.chaos.mending import healed, start
from tests.chaos.server_faults import (
    connections_killed,
    primary_hangs,
    primary_killed,
    promoted,
    replica_killed,
    scripts_forgotten,
    sentinels_killed,
)
from tests.chaos.slot_faults import slot_moved


def everything_restarted(pause: float) -> Fault:
    """Every process in turn is ended in good order and started again."""

    async def strike(scene: Scene) -> None:
        for node in (*scene.place.servers, *scene.place.sentinels):
            node.stop()
            await start(node)
            await anyio.sleep(pause)
            await healed(scene)

    return Fault(f"restart of every server in turn, {pause:g} s apart", strike)


def random_faults(minutes: float, every: float, seed: int) -> Fault:
    """One fault after another, each drawn at random from what the topology can suffer and heal from."""

    async def strike(scene: Scene) -> None:
        draw, ledger = random.Random(seed), Ledger(scene.crew.folder / "faults.ledger")
        common: list[Fault] = [primary_killed(5), primary_hangs(5), promoted(), replica_killed(5)]
        common += [connections_killed(), scripts_forgotten(), worker_killed(), worker_hangs(8)]
        own = [sentinels_killed(3)] if scene.place.sentinels else [slot_moved(500, 1)]
        end = anyio.current_time() + minutes * 60
        while anyio.current_time() < end:
            begun = anyio.current_time()
            fault = draw.choice([*common, *own])
            ledger.note("strikes", fault.name)
            await fault.strike(scene)
            await healed(scene)
            ledger.note("healed")
            await anyio.sleep_until(max(begun + every, anyio.current_time()))
        ledger.close()

    return Fault(f"a random fault every {every:g} s for {minutes:g} min (seed {seed})", strike)
