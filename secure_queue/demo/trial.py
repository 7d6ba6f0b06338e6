"""The trial: genuine tasks and three forgeries in one queue, an audit, and then workers that are let loose on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from secure_queue.demo.attack import Attacker, Forgery, quarantined
from secure_queue.demo.crew import DemoFailed
from secure_queue.demo.tasks import Tasks, facts_of
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.link import Link
from secure_queue.storage import Counts
from secure_queue.tasks import Task

PATIENCE_S = 30.0
POLL_S = 0.05
VICTIMS = ("flipped", "swapped-1", "swapped-2")
CONTROL = "control"

Traces = dict[str, str]
"""The files that canaries and forgeries have made, each with the id of the task that says in it to have made it."""


@dataclass(frozen=True, slots=True)
class LineUp:
    """The genuine tasks of the trial. The attacker gets at the victims; the others must run as if nothing had been."""

    victims: tuple[Task[None], ...]
    control: Task[None]
    neighbours: tuple[Task[Any], ...]
    files: tuple[Path, ...]
    traps: Path

    @property
    def genuine(self) -> Traces:
        """What the canaries leave if they run as they were enqueued."""
        return {name: task.id for name, task in zip((*VICTIMS, CONTROL), (*self.victims, self.control), strict=True)}


async def line_up(tasks: Tasks, traps: Path, files: Sequence[Path]) -> LineUp:
    """Enqueue canaries that would leave a trace in *traps*, and a few neighbours."""
    victims = tuple(tasks.canary.enqueue(traps / name) for name in VICTIMS)
    control = tasks.canary.enqueue(traps / CONTROL)
    neighbours = tuple(tasks.checksum.enqueue(path) for path in files)
    await tasks.worker.enqueue_many([*victims, control, *neighbours])
    return LineUp(victims, control, neighbours, tuple(files), traps)


async def attack(link: Link, keys: QueueKeys, traps: Path) -> tuple[Forgery, ...]:
    """Write the forgeries; the attacker takes the tasks that are next in the queue."""
    attacker = Attacker(link, keys)
    first, second, third, *_ = await attacker.queued()
    return (
        await attacker.forge_pickle(traps / "pickle"),
        await attacker.flip_bit(first),
        await attacker.swap(second, third),
    )


async def until_settled(tasks: Tasks) -> None:
    """Wait until nothing waits and nothing runs; what is still there after a long time is a problem found later."""
    with anyio.move_on_after(PATIENCE_S):
        while _busy(await tasks.worker.counts()):  # noqa: ASYNC110 - it is the server that changes
            await anyio.sleep(POLL_S)


def _busy(counts: Counts) -> bool:
    return bool(counts.running or sum(counts.ready.values()) or sum(counts.due.values()))


async def neighbours_went_well(line: LineUp) -> bool:
    """Whether every genuine task beside the forgeries has run and told the truth."""
    try:
        control = await line.control.result(PATIENCE_S)
        results = [await task.result(PATIENCE_S) for task in line.neighbours]
    except TimeoutError as error:
        raise DemoFailed("a genuine task beside the forgeries did not run") from error
    answers = [result.result if result.success else None for result in results]
    return control.success and answers == [facts_of(path) for path in line.files]


async def still_works(tasks: Tasks, path: Path) -> bool:
    """Whether the workers run a genuine task after all that."""
    task = await tasks.checksum.enqueue(path)
    try:
        result = await task.result(PATIENCE_S)
    except TimeoutError:
        return False
    return result.success and result.result == facts_of(path)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What could be seen after the workers had gone through the queue."""

    reasons: dict[str, str]
    traces: Traces
    genuine: Traces
    neighbours_well: bool
    still_working: bool

    @property
    def forged_traces(self) -> list[str]:
        """The traces that no genuine task has left.

        A victim may run as it was enqueued: after a failover its producer puts it back in place of what was forged.
        """
        return sorted(name for name, task_id in self.traces.items() if self.genuine.get(name) != task_id)

    @property
    def genuine_well(self) -> bool:
        """Whether nothing genuine has come to harm."""
        return self.neighbours_well and self.still_working and CONTROL in self.traces


async def watch(link: Link, keys: QueueKeys, tasks: Tasks, line: LineUp) -> Outcome:
    """Look on while workers run what stands in the queue, and see whether they go on afterwards."""
    well = await neighbours_went_well(line)
    await until_settled(tasks)
    working = await still_works(tasks, line.files[0])
    return Outcome(await quarantined(link, keys), traces_in(line.traps), line.genuine, well, working)


def traces_in(traps: Path) -> Traces:
    """What has been left in *traps* by now."""
    return {trace.name: trace.read_text("utf-8", "replace") for trace in traps.iterdir()}


def problems_of(forgeries: Sequence[Forgery], outcome: Outcome) -> list[str]:
    """What speaks against "none of the forgeries ran, each was refused for its own reason, and all others ran"."""
    problems = [
        f"{forgery.name}: task {task_id} was {outcome.reasons.get(task_id, 'not put aside')}, not {forgery.reason}"
        for forgery in forgeries
        for task_id in forgery.task_ids
        if outcome.reasons.get(task_id) != forgery.reason
    ]
    if outcome.forged_traces:
        problems.append("a forged task has run: it left a trace")
    if CONTROL not in outcome.traces:
        problems.append("the genuine canary left no trace, so the missing traces of the others prove nothing")
    if not outcome.neighbours_well:
        problems.append("a genuine task beside the forgeries came to harm")
    if not outcome.still_working:
        problems.append("the workers run no genuine task any more")
    return problems
