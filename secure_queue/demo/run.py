"""Tells the story in order: the main job, the forgeries, what became of them, and the verdict."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import anyio
from anyio import to_thread

from secure_queue.audit.tables import show_report
from secure_queue.demo import trial
from secure_queue.demo.audits import alarms, problems_after, problems_before
from secure_queue.demo.crew import crew
from secure_queue.demo.job import Job, enqueue, gather, run_seconds, verify
from secure_queue.demo.show import Show
from secure_queue.demo.tasks import QUEUE, Tasks, make_tasks
from secure_queue.errors import SecureQueueError
from secure_queue.redis.connect import open_link
from secure_queue.redis.keys import QueueKeys
from secure_queue.redis.urls import parse_url

NEIGHBOURS = 5
KEYS = QueueKeys(QUEUE, ("normal",))


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a demo for scripts; it was a success if there are no problems."""

    files: int = 0
    bytes: int = 0
    verified: int = 0
    enqueued_per_second: int = 0
    run_per_second: int = 0
    refused: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it all happens: a private server in a temporary folder, a fresh key, and the tasks."""

    place: Path
    url: str
    key: str
    tasks: Tasks
    processes: int
    show: Show

    @property
    def traps(self) -> Path:
        """The folder in which a forged task would leave a trace."""
        return self.place / "traps"


def run(files: Sequence[Path], processes: int, show: Show) -> Summary:
    """Play the whole demo on *files*; every failure ends up among the problems of the summary."""
    summary = anyio.run(_run, files, processes, show)
    show.verdict(summary.problems)
    return summary


async def _run(files: Sequence[Path], processes: int, show: Show) -> Summary:
    problems: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="sq-demo-") as place:
            return await _play(_stage(Path(place), processes, show), files)
    except* SecureQueueError as failures:
        problems += _messages(failures)
    return Summary(problems=tuple(problems))


def _stage(place: Path, processes: int, show: Show) -> Stage:
    place = place.resolve()
    url = f"embedded://{quote(str(place / 'server'))}"
    key = secrets.token_urlsafe(32)
    stage = Stage(place, url, key, make_tasks(url, key), processes, show)
    stage.traps.mkdir()
    return stage


async def _play(stage: Stage, files: Sequence[Path]) -> Summary:
    async with stage.tasks.worker:
        stage.show.line("a private redis-server runs on a unix socket; the key was made for this run and is in no file")
        job = await _main_job(stage, files)
        refused, problems = await _trial(stage, files)
    if job.wrong:
        problems.insert(0, f"{len(job.wrong)} of {len(files)} results differ from a direct computation")
    return Summary(
        files=len(files),
        bytes=job.hashed_bytes,
        verified=len(files) - len(job.wrong),
        enqueued_per_second=round(len(files) / job.enqueue_s),
        run_per_second=round(len(files) / job.run_s),
        refused=refused,
        problems=tuple(problems),
    )


async def _main_job(stage: Stage, files: Sequence[Path]) -> Job:
    show = stage.show
    show.chapter(f"1. One signed task per file, {len(files):,} files, {stage.processes} worker processes")
    with show.progress("enqueue", len(files)) as advance:
        enqueued, enqueue_s = await enqueue(stage.tasks, files, advance)
    with show.progress("run", len(files)) as advance:
        async with _workers(stage):
            results = await gather(enqueued, advance)
    with show.progress("compute directly", len(files)) as advance:
        checked = await to_thread.run_sync(partial(verify, files, results, advance))
    job = Job(checked, enqueue_s, run_seconds(results))
    show.job(job)
    return job


async def _trial(stage: Stage, files: Sequence[Path]) -> tuple[tuple[str, ...], list[str]]:
    """The reasons for which the forgeries were refused, and the problems."""
    show, worker = stage.show, stage.tasks.worker
    async with open_link(parse_url(stage.url)) as link:
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
