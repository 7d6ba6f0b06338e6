"""Tells the story in order: the main job, the forgeries, what became of them, and the verdict."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from secure_queue.audit.tables import show_report
from secure_queue.demo import trial
from secure_queue.demo.audits import alarms, problems_after, problems_before
from secure_queue.demo.crew import crew
from secure_queue.demo.job import Job, enqueue, gather, run_seconds, verify
from secure_queue.demo.outage import Loss, Outage, Topology, gather_through, ground, problems_of
from secure_queue.demo.show import Show
from secure_queue.demo.tasks import QUEUE, Tasks, make_tasks
from secure_queue.errors import SecureQueueError
from secure_queue.execution.shutdown import TO_END, on_signals
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.urls import parse_url

NEIGHBOURS = 5
KEYS = QueueKeys(QUEUE, ("normal",))
_WHERE = {
    Topology.EMBEDDED: "a private redis-server runs on a unix socket",
    Topology.SENTINEL: "a primary, two replicas and three sentinels run on loopback",
    Topology.CLUSTER: "a cluster of three primaries and three replicas runs on loopback",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a demo for scripts; it was a success if there are no problems."""

    topology: str = ""
    files: int = 0
    bytes: int = 0
    verified: int = 0
    enqueued_per_second: int = 0
    run_per_second: int = 0
    killed: str = ""
    successor: str = ""
    outage_s: float = 0.0
    refused: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it all happens: private servers in a temporary folder, a fresh key, and the tasks."""

    topology: Topology
    place: Path
    url: str
    outage: Outage | None
    key: str
    tasks: Tasks
    processes: int
    show: Show

    @property
    def traps(self) -> Path:
        """The folder in which a forged task would leave a trace."""
        return self.place / "traps"


def run(files: Sequence[Path], processes: int, show: Show, topology: Topology = Topology.EMBEDDED) -> Summary:
    """Play the whole demo on *files*; every failure ends up among the problems of the summary.

    Raises ``KeyboardInterrupt``, when everything is tidied up, if it was interrupted.
    """
    summary = anyio.run(_run_until_interrupted, files, processes, show, topology)
    if summary is None:
        raise KeyboardInterrupt
    show.verdict(summary.problems)
    return summary


async def _run_until_interrupted(*demo: Any) -> Summary | None:
    """Run it in a scope of its own: a cancellation by the event loop comes once, and a library could swallow it."""
    summary: Summary | None = None
    async with anyio.create_task_group() as group:
        await group.start(on_signals, group.cancel_scope.cancel, TO_END)
        summary = await _run(*demo)
        group.cancel_scope.cancel()
    return summary


async def _run(files: Sequence[Path], processes: int, show: Show, topology: Topology) -> Summary:
    problems: list[str] = []
    try:
        with _folder() as place:
            async with ground(topology, place, KEYS.tag) as (url, outage):
                return await _play(_stage(topology, place, url, outage, processes, show), files)
    except* SecureQueueError as failures:
        problems += _messages(failures)
    return Summary(topology.value, problems=tuple(problems))


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sq-demo-") as name:
        yield Path(name).resolve()


def _stage(topology: Topology, place: Path, url: str, outage: Outage | None, processes: int, show: Show) -> Stage:
    key = secrets.token_urlsafe(32)
    stage = Stage(topology, place, url, outage, key, make_tasks(url, key), processes, show)
    stage.traps.mkdir()
    return stage


async def _play(stage: Stage, files: Sequence[Path]) -> Summary:
    async with stage.tasks.worker:
        stage.show.line(f"{_WHERE[stage.topology]}; the key was made for this run and is in no file")
        job, loss = await _main_job(stage, files)
        refused, problems = await _trial(stage, files)
    problems += problems_of(loss)
    if job.wrong:
        problems.insert(0, f"{len(job.wrong)} of {len(files)} results differ from a direct computation")
    return Summary(
        topology=stage.topology.value,
        files=len(files),
        bytes=job.hashed_bytes,
        verified=len(files) - len(job.wrong),
        enqueued_per_second=round(job.timed / job.enqueue_s),
        run_per_second=round(len(files) / job.run_s),
        killed=loss.killed if loss else "",
        successor=loss.successor if loss else "",
        outage_s=round(loss.outage_s, 2) if loss else 0.0,
        refused=refused,
        problems=tuple(problems),
    )


async def _main_job(stage: Stage, files: Sequence[Path]) -> tuple[Job, Loss | None]:
    show = stage.show
    show.chapter(f"1. One signed task per file, {len(files):,} files, {stage.processes} worker processes")
    begin = len(files) if stage.outage is None else (len(files) + 1) // 2  # the others are enqueued into the outage
    with show.progress("enqueue", begin) as advance:
        enqueued, enqueue_s = await enqueue(stage.tasks, files[:begin], advance)
    loss: Loss | None = None
    with show.progress("run", len(files)) as advance:
        async with _workers(stage):
            if stage.outage is None:
                results = await gather(enqueued, advance)
            else:
                results, loss = await gather_through(stage.outage, stage.tasks, enqueued, files[begin:], advance)
    with show.progress("compute directly", len(files)) as advance:
        checked = await to_thread.run_sync(partial(verify, files, results, advance))
    job = Job(checked, begin, enqueue_s, run_seconds(results))
    if loss is not None:
        show.loss(loss, len(files))
    show.job(job)
    return job, loss


async def _trial(stage: Stage, files: Sequence[Path]) -> tuple[tuple[str, ...], list[str]]:
    """The reasons for which the forgeries were refused, and the problems."""
    show, worker = stage.show, stage.tasks.worker
    async with open_link(parse_url(stage.url), tag=KEYS.tag) as link:
        show.chapter("2. The workers rest, genuine tasks wait, and somebody writes to Redis")
        line = await trial.line_up(stage.tasks, stage.traps, files[:NEIGHBOURS])
        forgeries = await trial.attack(link, KEYS, stage.traps)
        show.forgeries(forgeries)
        before = await worker.audit()
        show.alarms(alarms(before))
        show.chapter("3. The same queue, and workers that are let loose on it")
        async with _workers(stage):
            outcome = await trial.watch(link, KEYS, stage.tasks, line)
    show.outcome(forgeries, outcome, len(line.neighbours) + 1)
    show.chapter("4. The audit of everything that is stored now")
    after = await worker.audit()
    show.put(show_report(after))
    problems = problems_before(forgeries, before) + trial.problems_of(forgeries, outcome)
    return tuple(outcome.reasons.values()), problems + problems_after(forgeries, after)


def _workers(stage: Stage) -> AbstractAsyncContextManager[None]:
    return crew(stage.url, stage.key, stage.processes, stage.place)


def _messages(failures: BaseExceptionGroup[SecureQueueError]) -> list[str]:
    """The distinct messages of a tree of errors."""
    found: list[str] = []
    for error in failures.exceptions:
        found += _messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)]
    return list(dict.fromkeys(found))
