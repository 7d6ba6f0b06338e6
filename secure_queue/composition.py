"""Puts a worker object together from parts: other worker objects and routers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from secure_queue.declare import AnyTask
from secure_queue.declare_paths import load, name_in
from secure_queue.declare_schedules import ScheduleDeclarations
from secure_queue.errors import ConfigurationError
from secure_queue.other_names import OF_WORKER_OBJECTS, OtherNames
from secure_queue.tasks import RegisteredTask

T = TypeVar("T")


class Composition(ScheduleDeclarations, OtherNames):
    """The part of a worker object, or of a router, that takes others in."""

    _other_names = OF_WORKER_OBJECTS

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[Composition] = []

    def include(self, other: Composition | str) -> None:
        """Take in the tasks and schedules of another worker object or router, also those that it gets later.

        They are enqueued and run here from then on, with the lifespan of this worker. A path (``"app.billing.router"``) is
        imported when the worker starts to run tasks, or now if it has. Raises ``ConfigurationError``, and takes nothing in,
        if a task or schedule of the same name is known here already.
        """
        if isinstance(other, str):
            self._include_later(other, self.include)
            return
        self._must_be_another(other)
        ours = {*self.registry, *self.elsewhere}
        theirs = [task for task in (*other.registry.values(), *other.elsewhere.values()) if self._wants(task)]
        for kind, both in (
            ("task", ours & {task.fn_name for task in theirs}),
            ("schedule", self.declared_schedules.keys() & other.declared_schedules.keys()),
        ):
            if both:
                raise ConfigurationError(f"both have a {kind} named {min(both)!r}; rename one, or use include_router")
        self.must_agree_about_limits(*theirs)
        self._take(other, override=False)

    def include_router(self, router: Composition | str) -> None:
        """``include``, where a task or schedule of *router* takes the place of one that has the same name here."""
        if isinstance(router, str):
            self._include_later(router, self.include_router)
            return
        self._must_be_another(router)
        self._take(router, override=True)

    def import_tasks(self) -> None:
        """Import what was declared by its path, here and in every part."""
        super().import_tasks()
        for part in self._parts:
            part.import_tasks()

    def all_hooks(self) -> tuple[list[Callable[..., object]], list[Callable[..., object]]]:
        """What is to be called at the start and at the end, here and in every part."""
        startup, shutdown = list(self.startup), list(self.shutdown)
        for part in self._parts:
            more = part.all_hooks()
            startup += more[0]
            shutdown += more[1]
        return startup, shutdown

    def _take(self, other: Composition, *, override: bool) -> None:
        for task in filter(self._wants, other.registry.values()):
            self.adopt(task.bound_to(self), override=override)
        for task in filter(self._wants, other.elsewhere.values()):
            self.adopt_elsewhere(task.bound_to(self), override=override)
        for declared in other.declared_schedules.values():
            if self._wants(other.entry(declared.repeated.function)):
                self.adopt_schedule(declared, override=override)
        other.includers.append(self)
        self._parts.append(other)
        if self._imports_at_once:
            other.import_tasks()

    def compose(
        self, routers: Iterable[Composition | str], tasks: Iterable[Callable[..., object] | AnyTask | str]
    ) -> None:
        """Take in routers, each overriding those before it, and single tasks: functions, paths, tasks of others."""
        for router in _several("routers", routers):
            self.include_router(router)
        for task in _several("tasks", tasks):
            if isinstance(task, str):
                self.add(task)
            elif isinstance(task, RegisteredTask):
                self.adopt(task.bound_to(self))
            else:
                self.task(task)

    def _wants(self, task: AnyTask) -> bool:
        return self.serves(task.settings.queue)

    def _must_be_another(self, other: object) -> None:
        if not isinstance(other, Composition):
            raise ConfigurationError("include takes a Worker or a Router, for example worker.include(billing.router)")
        if other is self or other in self._everybody_above():
            raise ConfigurationError("a worker or router cannot include itself, nor what includes it")
        if other in self._parts:
            raise ConfigurationError("it is included here already; once is enough")

    def _everybody_above(self) -> list[object]:
        return [above for one in self.includers for above in (one, *one._everybody_above())]  # type: ignore[attr-defined]

    def _include_later(self, path: str, take: Callable[[Composition], None]) -> None:
        name_in(path)  # what can be no path is told now
        self.import_later(partial(self._include_from, path, take))

    def _include_from(self, path: str, take: Callable[[Composition], None]) -> None:
        found = load(path)
        if not isinstance(found, Composition):
            raise ConfigurationError(f"what stands at {path!r} is no Router and no Worker")
        take(found)


def _several(name: str, given: Iterable[T]) -> Iterable[T]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{name}= is a list, for example {name}=['app.billing.{name[:-1]}']")
    return given
