"""Runs one claimed task: open it, find its function, call it, settle what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from typing import Any

from anyio import current_effective_deadline, get_cancelled_exc_class

from secure_queue.call_options import as_called
from secure_queue.clock import now_ms
from secure_queue.edges import Edge
from secure_queue.errors import RateLimited, Rejected
from secure_queue.execution.admission import Admission
from secure_queue.execution.alone import Alone
from secure_queue.execution.calls import Leaving, NoThread, Raised, as_raised, as_told
from secure_queue.execution.dependents import Call, Dependents, Inherit
from secure_queue.execution.processes import Processes
from secure_queue.execution.refusal import Refusals
from secure_queue.execution.replays import Replays
from secure_queue.execution.reporting import Reporting
from secure_queue.execution.runs import Desk, Run
from secure_queue.execution.settling import Settling
from secure_queue.execution.threads import Threads
from secure_queue.execution.verdict import EXPIRED, WORKER_LOST, Ending, Failed, TimedOut, stalled_ms
from secure_queue.importable import reference_of
from secure_queue.partitions import is_misplaced
from secure_queue.payload.codec import Codec, Opened, Purpose
from secure_queue.payload.records import TaskHead
from secure_queue.settings import WorkerSettings
from secure_queue.tasks import RegisteredTask, current_run

AnyTask = RegisteredTask[..., Any, Any]
Registry = Mapping[str, AnyTask]

_TASK = Purpose.TASK  # looked up once: a member of an Enum costs as much as a call
_SEQUENCES = (list, tuple)  # some serializers of the application know tuples only

NO_THREAD_PAUSE_MS = 500


class _TooLate(Exception):
    """The task has expired."""


class _NotCalled(BaseException):
    """The function was not called; no middleware may take that for one of its failures."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


class Executor:
    """Turns runs into settlements; one object serves all seats of a worker."""

    def __init__(
        self,
        codec: Codec,
        registry: Registry,
        settings: WorkerSettings,
        desk: Desk,
        settling: Settling,
        refusals: Refusals,
        replays: Replays,
        threads: Threads,
        processes: Processes,
        reporting: Reporting,
        dependents: Dependents,
        admission: Admission,
        alone: Alone,
    ) -> None:
        self._codec = codec
        self._registry = registry
        self._worker_id = settings.worker_id
        self._desk = desk
        self._settling = settling
        self._refusals = refusals
        self._replays = replays
        self._finished = replays.finished
        self._threads = threads
        self._processes = processes
        self._reporting = reporting
        self._dependents = dependents
        self._admission = admission
        self._alone = alone

    async def execute(self, run: Run) -> None:
        """Run one claimed task and settle it.

        Nothing that is stored, and nothing that a task raises, leaves this method; only the cancellation of ``run.scope``
        or of the whole worker does, and then the run is not settled yet.
        """
        claim = run.claim
        run.started_ms = now_ms()
        try:
            task_id = claim.untrusted_id.decode("ascii")
            opened = self._codec.open(claim.untrusted, _TASK, task_id, now_ms=run.started_ms)  # type: ignore[arg-type]  # what is not bytes is rejected
            value = opened.value
            args, kwargs = _arguments(value if type(value) is list else await _awaited(value))
            head = TaskHead.unpack(opened.head) if opened.head else None
            if is_misplaced(task_id, run.partition):
                raise Rejected("wrong-partition")
        except UnicodeDecodeError:
            self._refusals.refuse(run, "bad-id")
        except Rejected as error:
            self._reject(run, error.reason)
        except BaseException as error:
            if issubclass(type(error), Exception) or _must_pass(error):
                raise
            self._reject(run, "undeserializable")  # a deserializer of the application made up a cancellation
        else:
            run.opened = opened
            run.arguments = args, kwargs
            run.head = head
            may_be_finished = claim.may_be_answered or self._finished.knows(opened.jti)
            replayed = may_be_finished and await self._replays.settle(run, opened)
            task = None if replayed else self._ready_task(run, opened, head)
            if task is not None:
                plain = head is None and task.is_plain and not self._admission.watches
                await (self._run if plain else self._way(run, head))(run, opened, task, args, kwargs)

    def _ready_task(self, run: Run, opened: Opened, head: TaskHead | None) -> AnyTask | None:
        """The function to run now; None if it is too early, too late or nobody here knows it, and then that is settled."""
        task = self._registry.get(opened.function)
        if opened.not_before_ms > run.started_ms:
            self._settling.hand_back(run, after_ms=opened.not_before_ms - run.started_ms)
            return None
        if task is None:
            self._settling.puzzle_over(run)
            return None
        if head is None:
            run.settings, run.ttl_ms = task.settings, task.ttl_ms
        else:
            run.settings = as_called(task.settings, head)
            run.ttl_ms = run.settings.ttl_ms
        return task

    async def _run(self, run: Run, opened: Opened, task: AnyTask, args: list[Any], kwargs: dict[str, Any]) -> None:
        most = run.settings.max_tries
        if most is not None and run.claim.tries >= most and not await self._may_begin(run, most):
            return
        run.worker_id = self._worker_id
        self._desk.begin(run)
        current_run.set(run)
        try:
            value = await self._call(run, task, args, kwargs)
        except _TooLate:
            self._settling.fail(run, EXPIRED)
        except NoThread:
            await self._admission.unbook(run)
            self._settling.hand_back(run, after_ms=0 if self._threads.closed else NO_THREAD_PAUSE_MS)
        except Raised as raised:
            await self._fail(run, raised.problem)
        except BaseException as error:
            if _must_pass(error):
                raise
            await self._fail(run, error)
        else:
            await self._succeed(run, opened, value)
        finally:
            self._desk.end(run)

    async def _fail(self, run: Run, error: BaseException) -> None:
        if isinstance(ending := _ending(run, error), Failed) and issubclass(type(error), RateLimited):
            await self._admission.stall(run, stalled_ms(error))
        self._settling.settle(run, ending)

    def _way(self, run: Run, head: TaskHead | None) -> Callable[..., Awaitable[None]]:
        if head is not None and head.lineage is not None and head.lineage.edges:
            return partial(self._run_dependent, head.lineage.edges)
        return self._run_limited if run.settings.limits or self._admission.watches else self._seated(run)

    def _seated(self, run: Run) -> Callable[..., Awaitable[None]]:
        return self._run_alone if run.settings.keying.alone else self._run

    async def _run_limited(self, run: Run, *call: Any) -> None:
        """The same for a task that has limits, or when somebody has paused tasks."""
        if await self._admission.admit(run):
            try:
                await self._seated(run)(run, *call)
            finally:
                self._admission.leave(run)

    async def _run_alone(self, run: Run, *call: Any) -> None:
        """The same for a task of which one runs at a time, if none does; asked last, for one that waits runs not."""
        try:
            await (self._run(run, *call) if await self._alone.may_run(run) else self._admission.unbook(run))
        finally:
            self._admission.leave(run)

    async def _run_dependent(
        self, edges: Sequence[Edge], run: Run, opened: Opened, task: AnyTask, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        """The same for a task that depends on others, if they let it run."""
        match await self._dependents.admit(run, edges):
            case Call(first):
                args = [*first, *args]
                run.arguments = args, kwargs
                await self._way(run, None)(run, opened, task, args, kwargs)
            case Inherit(value, encrypted):
                if encrypted:
                    run.settings = replace(run.settings, encrypt=True)
                await self._succeed(run, opened, value)
            case None:
                pass

    async def _may_begin(self, run: Run, most: int) -> bool:
        """Whether a last try is left: one that a worker had claimed when it died, and had not begun, does not count."""
        claim = run.claim
        if claim.tries > most and claim.has_begun:
            self._settling.fail(run, WORKER_LOST)
            return False
        run.claim = claim._replace(tries=min(claim.tries, most))
        return await self._settling.begin(run)

    async def _call(self, run: Run, task: AnyTask, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if task.plan is not None:
            return await self._call_surrounded(run, task, args, kwargs)
        if task.is_async:
            self._start_clock(run)
            return await task.fn(*args, **kwargs)
        return await self._in_thread(run, partial(task.fn, *args, **kwargs))

    async def _in_thread(self, run: Run, fn: Callable[[], Any]) -> Any:
        return await _awaited(await self._threads.call(fn, partial(self._start_clock, run)))

    async def _call_surrounded(self, run: Run, task: AnyTask, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function with all that surrounds it; the time of that counts too, but for the wait for a thread."""
        run.call = partial(self._call_inside, run, task)
        self._start_clock(run)
        try:
            return await task.plan(*args, **kwargs)  # type: ignore[misc]  # there is one
        except _NotCalled as refused:
            raise refused.reason from None
        except (Leaving, BaseExceptionGroup) as told:
            raise Raised(as_raised(told)) from None

    async def _call_inside(
        self, run: Run, task: AnyTask, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        try:
            if task.streams:
                return await self._reporting.stream(run, fn, args, kwargs)
            if task.is_async:
                return await fn(*args, **kwargs)
            return await self._call_outside(run, task, fn, args, kwargs)
        except SystemExit as problem:
            raise as_told(problem) from None
        except Raised as raised:
            raise as_told(raised.problem) from None
        except (NoThread, _TooLate) as reason:
            raise _NotCalled(reason) from None

    async def _call_outside(
        self, run: Run, task: AnyTask, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        run.stop_time()  # until there is a thread, or a process, which takes long to start
        if task.settings.process:
            start = partial(self._start_clock, run)
            return await self._processes.call(run, reference_of(fn), args, kwargs, start)
        return await self._in_thread(run, partial(fn, *args, **kwargs))

    async def _succeed(self, run: Run, opened: Opened, value: Any) -> None:
        """Settle a returned value; one that cannot be serialized fails the task, which is not run again for that."""
        try:
            serialized = self._codec.serializer.dumps(value)
            body = serialized if isinstance(serialized, bytes) else await serialized
            self._settling.succeed(run, opened, body)
        except BaseException as error:
            if _must_pass(error):
                raise
            self._settling.fail_of(run, error, value)

    def interrupted(self, run: Run) -> None:
        """Settle a run whose scope was cancelled: by its timeout, unless somebody gave another reason."""
        self._settling.settle(run, run.interruption or TimedOut())

    def _start_clock(self, run: Run) -> None:
        """The function is called now: it must not be too late for that, and its time begins."""
        run.started_ms = now_ms()
        expires_ms, settings = run.genuine.expires_ms, run.settings
        if expires_ms is not None and expires_ms < run.started_ms:  # verifying allows for some skew of clocks
            raise _TooLate
        if settings.timeout_s is not None or settings.soft_timeout_s is not None:
            run.limit_time()

    def _reject(self, run: Run, reason: str) -> None:
        if reason != "expired":
            self._refusals.refuse(run, reason)
            return
        try:
            late = run.opened = self._codec.verify_late(
                run.claim.untrusted,  # type: ignore[arg-type]  # it was opened as far as its expiry, so it is bytes
                Purpose.TASK,
                run.claim.untrusted_id.decode("ascii"),
                now_ms=run.started_ms,
            )
        except Rejected as error:
            self._refusals.refuse(run, error.reason)
            return
        task = self._registry.get(late.function)
        if task is not None:
            run.settings, run.ttl_ms = task.settings, task.ttl_ms
        self._settling.fail(run, EXPIRED)


async def _awaited(value: Any) -> Any:
    return await value if isawaitable(value) else value


def _ending(run: Run, error: BaseException) -> Ending:
    """What ended a run that raised; what it raises while it is being interrupted is not the reason."""
    if run.interruption is None and run.scope is not None and run.scope.cancel_called:
        return TimedOut()
    return run.interruption or Failed(error)


def _must_pass(error: BaseException) -> bool:
    """Whether an exception is no ending of the task: a cancellation that is going on, or the end of the process.

    ``SystemExit`` and ``GeneratorExit`` are endings; so is a cancellation that the task made up itself.
    """
    kind = type(error)  # isinstance would ask the exception itself, whose __class__ may be anything
    if issubclass(kind, get_cancelled_exc_class()):
        return current_effective_deadline() == float("-inf")
    return issubclass(kind, KeyboardInterrupt)


def _arguments(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """The two halves of a call; a genuine payload of another shape was not made by ``enqueue``."""
    if type(value) in _SEQUENCES and len(value) == 2:
        args, kwargs = value
        if type(args) in _SEQUENCES and type(kwargs) is dict and (not kwargs or _are_names(kwargs)):
            return args, kwargs
    raise Rejected("malformed")


def _are_names(kwargs: dict[Any, Any]) -> bool:
    return all(type(name) is str for name in kwargs)
