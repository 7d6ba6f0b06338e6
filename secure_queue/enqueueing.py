"""Puts tasks into the queue: what may not be is refused before anything is sent, and each goes the way that is its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from secure_queue import names
from secure_queue.client import Client
from secure_queue.composition import Composition
from secure_queue.errors import ConfigurationError, SecureQueueError
from secure_queue.frames import without_frames
from secure_queue.keyed_calls import KeyedCalls
from secure_queue.keying import NO_KEYS
from secure_queue.linking import Linking, family
from secure_queue.plans import Plan
from secure_queue.scheduling import Scheduling
from secure_queue.surroundings import Carried, called, carried_headers, carry, functions
from secure_queue.tasks import Task

H = TypeVar("H", bound=Callable[..., Any])
V = TypeVar("V")

_KEYED_AND_MORE = (
    "a task with a key is neither repeated by a schedule nor part of a workflow; let a task of that enqueue it"
)


class Checked(NamedTuple):
    """Tasks by the way in which they are enqueued."""

    planned: list[tuple[Task[Any], Plan]]
    keyed: list[Task[Any]]
    once: list[Task[Any]]


class Enqueueing(Composition):
    """The part of a worker object that puts tasks into the queue."""

    def __init__(self) -> None:
        super().__init__()
        self._before_enqueue: list[Callable[[Task[Any]], object]] = []

    def carry(
        self,
        variable: ContextVar[V],
        *,
        name: str | None = None,
        dump: Callable[[V], str] = str,
        load: Callable[[str], V] = str,  # type: ignore[assignment]  # of a variable that holds text
    ) -> None:
        """Let a context variable have in the task the value that it has where the task is enqueued.

        It travels as the text that *dump* makes of it and *load* reads, in the header *name* (else that of the variable).
        """
        one = Carried(variable, dump, load)
        carry(self.surroundings.carried, names.header_name(name or variable.name), one)

    def before_enqueue(self, hook: H) -> H:
        """Call *hook*, async or not, with every handle before it is enqueued here; if it raises, nothing is enqueued.

        It may say more about the call, for example ``task.start(headers={…})``.
        """
        self._before_enqueue += functions(hook)
        return hook

    @abstractmethod
    def _client(self) -> Client:
        """The open client of this thread; raises ``SecureQueueError`` if there is none."""

    async def enqueue_many(self, tasks: Iterable[Task[Any]]) -> None:
        """Enqueue tasks in as few calls as possible.

        Raises ``UnserializableValue`` before anything is sent, ``Backpressure`` if the server is full, ``Unavailable``
        if it was not confirmed before the ``deadline`` (then doing it again with the same handles is safe).
        """
        try:
            if type(tasks) is tuple and self._is_plain(tasks):
                await self._client().enqueue_many(tasks)
            else:
                await self._enqueue_each_its_way(*_family(tasks))
        except SecureQueueError as error:  # the frames hold the arguments
            raise without_frames(error) from None

    def _is_plain(self, tasks: tuple[Task[Any], ...]) -> bool:
        """Whether it is one task that has nothing to itself: hundreds of these may be under way, so they get no lists."""
        if len(tasks) != 1 or self._before_enqueue or self.surroundings.carried or not isinstance(tasks[0], Task):
            return False
        task = tasks[0]
        plain = task.priority is None and task.plan is None and not task.links
        return plain and task.publisher is self and task.settings.keying is NO_KEYS

    async def _enqueue_each_its_way(self, tasks: list[Task[Any]], linked: bool) -> None:
        if self.surroundings.carried or self._before_enqueue:
            await self._prepare(tasks)
        planned, keyed, once = self._checked(tasks, linked)
        client = self._client()
        for task, rule in planned:
            await Scheduling(client).store(task, rule)
        if keyed:
            await KeyedCalls(client).enqueue(keyed)
        if linked:
            await Linking(client).enqueue(once)
        elif once:
            await client.enqueue_many(once)

    async def _prepare(self, tasks: list[Task[Any]]) -> None:
        headers = carried_headers(self.surroundings.carried)
        for task in tasks:
            if task.existed is not None:  # one that is enqueued again stays as it is
                continue
            if headers:
                task.start(headers={**headers, **task.options.headers})
            for hook in self._before_enqueue:
                await called(hook, task)

    def _checked(self, tasks: list[Task[Any]], linked: bool) -> Checked:
        """Tell tasks apart by how they are enqueued; raises ``ConfigurationError`` for what cannot be."""
        planned, keyed, once = checked = Checked([], [], [])
        for task in tasks:
            if task.priority is not None:
                self._must_be_known(task.priority)
            if task.publisher is not self:
                self._must_be_of_this_queue(task)
            for link in task.links:
                self._must_fit_as_a_parent(link.parent)
            decided_by_key = task.settings.keying is not NO_KEYS and task.settings.keying.decides_enqueue
            if decided_by_key and (linked or task.plan is not None):
                raise ConfigurationError(_KEYED_AND_MORE)
            if task.plan is not None:
                self._must_fit_as_a_schedule(task)
                planned.append((task, task.plan))
            else:
                (keyed if decided_by_key else once).append(task)
        return checked

    def _must_be_known(self, priority: str | None) -> None:
        if priority is not None and priority not in self._priorities():
            raise ConfigurationError(f"no priority {priority!r} in this worker's priorities=; add it there")

    def _must_be_of_this_queue(self, task: Task[Any]) -> None:
        """Nobody here would know it; who has taken its worker object in may well."""
        mine, other = getattr(self, "queue_name", None), getattr(task.publisher, "queue_name", None)
        includers = self.includers or getattr(task.publisher, "includers", None)
        if other != mine and other is not None and mine is not None and not includers:
            raise ConfigurationError(
                f"{task.fn_name!r} is a task of queue {other!r}, and this is {mine!r}: enqueue it, wait for it "
                "and schedule it there; tasks of several queues are no workflow"
            )

    def _must_fit_as_a_parent(self, parent: Task[Any] | str) -> None:
        if isinstance(parent, Task):
            self._must_be_of_this_queue(parent)
            if parent.plan is not None:
                raise ConfigurationError("a schedule never ends; let the task that it runs enqueue what is to follow")

    def _must_fit_as_a_schedule(self, task: Task[Any]) -> None:
        if task.links:
            raise ConfigurationError("a schedule cannot depend on tasks; let the task that it runs enqueue them")
        if task.id in self.declared_schedules:
            raise ConfigurationError(f"a schedule {task.id!r} is declared in code already; pass another schedule_id=")

    @abstractmethod
    def _priorities(self) -> tuple[str, ...]: ...


def _family(tasks: Iterable[Task[Any]]) -> tuple[list[Task[Any]], bool]:
    """*tasks* with those that they depend on, and whether any of them depends on others."""
    listed, linked = list(tasks) if isinstance(tasks, Iterable) else [tasks], False
    for task in listed:
        if not isinstance(task, Task):
            raise ConfigurationError("enqueue_many takes what f.enqueue(...) returns, for example [f.enqueue(1)]")
        linked = linked or bool(task.links)
    return (family(listed) if linked else listed), linked
