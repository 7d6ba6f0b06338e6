"""What surrounds a task when it runs: middleware, hooks and carried context variables, put together once for each task.

What belongs to the worker is outside of what belongs to the task, and of each kind the first one is outermost. A task
without surroundings is called directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Final, TypeAlias

import anyio

from secure_queue.errors import ConfigurationError
from secure_queue.tasks import CallNext, TaskContext, current_run

Middleware: TypeAlias = Callable[[CallNext], CallNext]

AFTER_S: Final = 3.0
"""For how long hooks may go on after a run that was interrupted; less than a worker waits for it when it stops."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How one run ended: with a result, or by an exception.

    ``interrupted`` says that the run was cut off (by its timeout, an abort, the end of the worker); nothing changes that.
    """

    result: Any = field(default=None, repr=False)
    exception: BaseException | None = None
    interrupted: bool = False

    @property
    def success(self) -> bool:
        """Whether the task returned."""
        return self.exception is None


BeforeHook: TypeAlias = Callable[[TaskContext], object]
AfterHook: TypeAlias = Callable[[TaskContext, TaskOutcome], object]


@dataclass(frozen=True, slots=True)
class Carried:
    """A context variable that goes with a call, as the text of one header."""

    variable: ContextVar[Any]
    dump: Callable[[Any], str]
    load: Callable[[str], Any]

    def __post_init__(self) -> None:
        if not isinstance(self.variable, ContextVar):
            raise ConfigurationError("carry takes a ContextVar, for example worker.carry(tenant)")


@dataclass(slots=True)
class Surroundings:
    """One layer of them: of a worker object, of a router, or of a single task."""

    middleware: list[Middleware] = field(default_factory=list)
    before: list[BeforeHook] = field(default_factory=list)
    after: list[AfterHook] = field(default_factory=list)
    carried: dict[str, Carried] = field(default_factory=dict)
    overrides: dict[Callable[..., Any], Callable[..., Any]] = field(default_factory=dict)
    """What is called in the place of providers of dependencies."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to put around anything."""
        return not (self.middleware or self.before or self.after or self.carried)

    def around(self, call_next: CallNext) -> CallNext:
        """*call_next* inside of this layer."""
        for middleware in reversed(self.middleware):
            call_next = middleware(call_next)
            if not callable(call_next):
                raise ConfigurationError("a middleware takes call_next and returns an async function that awaits it")
        if self.before or self.after:
            call_next = _between(call_next, self.before, self.after)
        return _carrying(call_next, self.carried) if self.carried else call_next


def carry(carried: dict[str, Carried], header: str, one: Carried) -> None:
    """Carry one more; raises ``ConfigurationError`` for two under one name."""
    if header in carried and carried[header].variable is not one.variable:
        raise ConfigurationError(f"another context variable is carried as {header!r} already; pass carry(…, name=…)")
    carried[header] = one


def functions(given: object) -> list[Any]:
    """One function or several, as a list; raises ``ConfigurationError`` for anything else."""
    listed = [given] if callable(given) else list(given) if isinstance(given, Iterable) else [given]
    if not all(callable(one) for one in listed):
        raise ConfigurationError("hooks and middleware are functions, or sequences of functions")
    return listed


def replacements(given: object) -> dict[Callable[..., Any], Callable[..., Any]]:
    """What is called in the place of providers; raises ``ConfigurationError`` for what cannot be called."""
    pairs = given.items() if isinstance(given, Mapping) else [(given, given)]
    if not all(callable(one) for pair in pairs for one in pair):
        raise ConfigurationError(
            "overrides are a mapping from functions to functions, for example {open_session: open_test_session}"
        )
    return dict(pairs)


def _between(call_next: CallNext, before: Iterable[BeforeHook], after: Iterable[AfterHook]) -> CallNext:
    async def call(*args: Any, **kwargs: Any) -> Any:
        context = current_run.get().context()
        try:
            for hook in before:
                await called(hook, context)
            outcome = TaskOutcome(await call_next(*args, **kwargs))
        except Exception as error:
            outcome = TaskOutcome(exception=error)
        except BaseException as error:
            with anyio.move_on_after(AFTER_S, shield=True):
                await _tell(after, context, TaskOutcome(exception=error, interrupted=True))
            raise
        outcome = await _tell(after, context, outcome)
        if outcome.exception is not None:
            raise outcome.exception
        return outcome.result

    return call


async def _tell(after: Iterable[AfterHook], context: TaskContext, outcome: TaskOutcome) -> TaskOutcome:
    """Tell every hook how the run ended; what one raises, or another outcome that it returns, is the end from then on."""
    for hook in after:
        try:
            changed = await called(hook, context, outcome)
        except Exception as error:
            changed = TaskOutcome(exception=error)
        if isinstance(changed, TaskOutcome):
            outcome = changed
    return outcome


def _carrying(call_next: CallNext, carried: Mapping[str, Carried]) -> CallNext:
    async def call(*args: Any, **kwargs: Any) -> Any:
        headers = current_run.get().context().headers
        tokens = [
            (one.variable, one.variable.set(one.load(headers[name])))
            for name, one in carried.items()
            if name in headers
        ]
        try:
            return await call_next(*args, **kwargs)
        finally:
            for variable, token in tokens:
                variable.reset(token)

    return call


def carried_headers(carried: Mapping[str, Carried]) -> dict[str, str]:
    """What the context variables say here and now, as headers; one that is not set says nothing."""
    headers = {}
    for name, one in carried.items():
        try:
            headers[name] = one.dump(one.variable.get())
        except LookupError:
            continue
    return headers


async def called(function: Callable[..., object], *args: object) -> object:
    """Call a function, async or not."""
    result = function(*args)
    return await result if isawaitable(result) else result
