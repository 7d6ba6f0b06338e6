"""Declares what surrounds tasks, and puts it around each of them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

from secure_queue.dependencies import NOTHING, injecting, injection_of
from secure_queue.importable import reference_of
from secure_queue.surroundings import (
    AfterHook,
    BeforeHook,
    Middleware,
    Surroundings,
    functions,
    replacements,
)
from secure_queue.task_options import TaskOptions
from secure_queue.tasks import CallNext, RegisteredTask, current_run

H = TypeVar("H", bound=Callable[..., object])
M = TypeVar("M", bound=Middleware)
B = TypeVar("B", bound=BeforeHook)
A = TypeVar("A", bound=AfterHook)


class SurroundingDeclarations:
    """The part of a worker object, or of a router, that knows what surrounds all of its tasks."""

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self.startup: list[Callable[..., object]] = []
        self.shutdown: list[Callable[..., object]] = []
        self._state: dict[str, Any] = {}

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """What is called in the place of a provider, in tests above all; counts from the next run of a task on.

        Those of a worker object come before those of a router, or of another worker object, that it includes.
        """
        return self.surroundings.overrides

    @dependency_overrides.setter
    def dependency_overrides(self, overrides: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        replaced = replacements(overrides)
        self.surroundings.overrides.clear()
        self.surroundings.overrides.update(replaced)

    def surround(self, before_process: object, after_process: object, startup: object, shutdown: object) -> None:
        """Take hooks in, each a function or several."""
        self.surroundings.before += functions(before_process)
        self.surroundings.after += functions(after_process)
        self.startup += functions(startup)
        self.shutdown += functions(shutdown)

    def on_startup(self, hook: H) -> H:
        """Call *hook*, async or not, when the worker begins to run tasks, after its ``lifespan`` was entered.

        If it takes an argument, that is ``state``. What it raises ends the run.
        """
        self.startup += functions(hook)
        return hook

    def on_shutdown(self, hook: H) -> H:
        """Call *hook*, async or not, when the last task has ended, before the ``lifespan`` is left; the last one first."""
        self.shutdown += functions(hook)
        return hook

    def middleware(self, middleware: M) -> M:
        """Put *middleware* around every task: it takes ``call_next`` and returns an async function that awaits it.

        The first one is outermost. What it returns or raises is how the run ends. Declare it before the worker runs.
        """
        self.surroundings.middleware += functions(middleware)
        return middleware

    def before_process(self, hook: B) -> B:
        """Call *hook*, async or not, with the ``TaskContext`` before every run; what it raises is how the run ends."""
        self.surroundings.before += functions(hook)
        return hook

    def after_process(self, hook: A) -> A:
        """Call *hook*, async or not, with ``TaskContext`` and ``TaskOutcome`` after every run.

        The run ends with the exception that it raises, or with another ``TaskOutcome`` if it returns one.
        """
        self.surroundings.after += functions(hook)
        return hook


def own_surroundings(options: TaskOptions) -> tuple[Surroundings, ...]:
    """The layer that a single task asks for; none if it asks for nothing."""
    made = Surroundings(
        functions(options.get("middleware", ())),
        functions(options.get("before_process", ())),
        functions(options.get("after_process", ())),
    )
    return () if made.is_empty else (made,)


def plan_of(task: RegisteredTask[..., Any, Any]) -> CallNext | None:
    """*task* with its dependencies and all that surrounds it; None if there is nothing of that kind."""
    layers = [layer for layer in task.layers if not layer.is_empty]
    injection = injection_of(task.fn)
    if task.settings.process:
        reference_of(task.fn)  # says at once what a process cannot import
    is_told = task.settings.soft_timeout_s is not None and (task.is_async or task.streams)
    if not layers and injection is NOTHING and not (task.streams or is_told or task.settings.process):
        return None
    call_next = _calling(task.fn)
    if is_told:
        call_next = _told(call_next)
    if injection is not NOTHING:
        overrides = [layer.overrides for layer in task.layers]
        call_next = injecting(call_next, injection, ChainMap(*overrides))
    for layer in reversed(layers):
        call_next = layer.around(call_next)
    return call_next


def _told(call_next: CallNext) -> CallNext:
    """An async function that has a soft limit."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        limits = current_run.get().limits
        with nullcontext() if limits is None else limits.block(outermost=True):
            return await call_next(*args, **kwargs)

    return call


def _calling(function: Callable[..., Any]) -> CallNext:
    async def call(*args: Any, **kwargs: Any) -> Any:
        run = current_run.get().call
        if run is None:
            raise LookupError("the run has no surroundings")
        return await run(function, args, kwargs)

    return call
