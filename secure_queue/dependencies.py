"""Injects arguments into functions: what a parameter needs is found once, when the task is declared, and made for each run.

Only parameters that say so are injected, and those are never taken from the call: who enqueues cannot put anything in the
place of a dependency.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace
from typing import Any, Final

from secure_queue.errors import ConfigurationError
from secure_queue.tasks import CallNext, TaskContext, current_run

_Overrides = Mapping[Callable[..., Any], Callable[..., Any]]
_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_BY_POSITION: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ASKS_FOR_MORE: Final = re.compile(r"\bDepends\b|^(\w+\.)*TaskContext$")


@dataclass(frozen=True, slots=True)
class Dependency:
    """The mark of a parameter that is injected; ``Depends`` makes it."""

    provider: Callable[..., Any] | None = None
    use_cache: bool = True


def Depends(provider: Callable[..., Any] | None = None, *, use_cache: bool = True) -> Any:
    """Mark a parameter as injected: ``db: Db = Depends(open_db)``, or ``db: Annotated[Db, Depends(open_db)]``.

    *provider* is a function, async or not, whose own parameters may be injected too, or a generator function that yields
    the value once and cleans up after the run. Without one the annotation says what is made: a class, or ``TaskContext``.
    Within a run each provider is called once, unless *use_cache* is False.
    """
    return Dependency(provider, use_cache)


@dataclass(frozen=True, slots=True)
class Provider:
    """How a value is made; of the ``TaskContext`` nothing is called."""

    function: Callable[..., Any]
    use_cache: bool
    needs: Injection


@dataclass(frozen=True, slots=True)
class Injection:
    """Which parameters of a function are injected: by their place among the positional ones, and by name."""

    places: tuple[tuple[str, Provider | None], ...] = ()
    """As far as the last injected one, each with its name; None is taken from the call."""
    names: Mapping[str, Provider] = field(default_factory=dict)
    """The keyword-only ones."""
    injected: frozenset[str] = frozenset()


NOTHING: Final = Injection()


def injection_of(function: Callable[..., Any], above: tuple[object, ...] = ()) -> Injection:
    """What *function* needs; raises ``ConfigurationError`` if a dependency needs itself, or what nobody provides."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin that does not tell
        return NOTHING
    found: dict[str, Provider] = {}
    for name, parameter in parameters.items():
        mark = _mark_of(parameter, _annotation(function, parameter))
        if mark is not None:
            found[name] = _provider(mark, above)
        elif above and parameter.default is parameter.empty and parameter.kind not in _VARIADIC:
            raise ConfigurationError(f"nobody provides the parameter {name!r} of {function!r}; give it Depends(…)")
    if not found:
        return NOTHING
    places = [(name, found.get(name)) for name, parameter in parameters.items() if parameter.kind in _BY_POSITION]
    while places and places[-1][1] is None:
        places.pop()
    by_name = {name: one for name, one in found.items() if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY}
    return Injection(tuple(places), by_name, frozenset(found))


def callers_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a caller passes: the signature without what is injected; None for a builtin that does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    injected = injection_of(function).injected
    return signature.replace(parameters=[one for name, one in signature.parameters.items() if name not in injected])


def _mark_of(parameter: inspect.Parameter, annotation: Any) -> Dependency | None:
    """The mark of a parameter, with its provider; None if it is not injected."""
    plain, *notes = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Annotated else (annotation,)
    marks = [note for note in (parameter.default, *notes) if isinstance(note, Dependency)]
    if marks:
        mark = marks[0]
        return mark if mark.provider is not None else Dependency(_made_by(plain, parameter.name), mark.use_cache)
    return Dependency(TaskContext) if plain is TaskContext else None


def _made_by(annotation: Any, name: str) -> Callable[..., Any]:
    if not callable(annotation) or annotation is inspect.Parameter.empty:
        raise ConfigurationError(f"Depends() of {name!r} needs a provider, or a class as its annotation")
    made: Callable[..., Any] = annotation
    return made


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation itself, also where it is kept as text; text that means nothing (yet) says nothing.

    Raises ``ConfigurationError`` for one that asks for an injection all the same: a task would run without it.
    """
    text = parameter.annotation
    if not isinstance(text, str):
        return text
    plain = inspect.unwrap(function.__init__ if inspect.isclass(function) else function)
    holder = SimpleNamespace(__annotations__={parameter.name: text})
    try:
        inner = inspect.getclosurevars(plain).nonlocals if inspect.isfunction(plain) else {}
        known = dict(getattr(plain, "__globals__", {}))
        return typing.get_type_hints(holder, known, dict(inner), include_extras=True)[parameter.name]
    except Exception as error:  # whatever evaluating an unknown name raises
        if _ASKS_FOR_MORE.search(text):
            raise ConfigurationError(
                f"the annotation of {parameter.name!r} ({text}) cannot be evaluated: {error}; import or define what it names"
                " at the top level of the module, or write = Depends(…) as the default"
            ) from None
        return text


def _provider(mark: Dependency, above: tuple[object, ...]) -> Provider:
    function = mark.provider
    if not callable(function):
        raise ConfigurationError("Depends takes a function, for example Depends(open_session)")
    if function in above:
        raise ConfigurationError(f"the dependency {function!r} needs itself")
    needs = NOTHING if function is TaskContext else injection_of(function, (*above, function))
    return Provider(function, mark.use_cache, needs)


def injecting(call_next: CallNext, injection: Injection, overrides: _Overrides) -> CallNext:
    """*call_next* with its dependencies; each is torn down after the run, the last one first, whatever its end."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        problem: BaseException | None = None
        async with AsyncExitStack() as stack:
            made = _Making(stack, overrides)
            try:
                more_args, more_kwargs = await made.arguments(injection, args, kwargs)
                return await call_next(*more_args, **more_kwargs)
            except BaseException as error:
                problem = error
                raise
        raise problem or RuntimeError  # a provider has swallowed what was thrown into it; only middleware may do that

    return call


class _Making:
    """The values of one run."""

    def __init__(self, stack: AsyncExitStack, overrides: _Overrides) -> None:
        self._stack = stack
        self._overrides = overrides
        self._made: dict[object, Any] = {}

    async def arguments(
        self, injection: Injection, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        taken = injection.injected & kwargs.keys()
        if taken:
            raise TypeError(f"{min(taken)!r} is injected and cannot be passed")
        given, used_up = iter(args), False
        filled: list[Any] = []
        named = {name: await self._value(provider) for name, provider in injection.names.items()}
        for name, provider in injection.places:
            if provider is not None and not used_up:
                filled.append(await self._value(provider))
            elif provider is not None:  # what stands before it was passed by name
                named[name] = await self._value(provider)
            elif not used_up:
                filled += (value := list(islice(given, 1)))
                used_up = not value
        return [*filled, *given], kwargs | named

    async def _value(self, provider: Provider) -> Any:
        if provider.function is TaskContext:
            return current_run.get().context()
        key = provider.function if provider.use_cache else object()
        if key not in self._made:
            self._made[key] = await self._make(provider)
        return self._made[key]

    async def _make(self, provider: Provider) -> Any:
        function, needs = provider.function, provider.needs
        if function in self._overrides:
            function = self._overrides[function]
            needs = injection_of(function, (function,))
        args, kwargs = await self.arguments(needs, (), {})
        if inspect.isasyncgenfunction(function):
            return await self._stack.enter_async_context(asynccontextmanager(function)(*args, **kwargs))
        if inspect.isgeneratorfunction(function):
            return self._stack.enter_context(contextmanager(function)(*args, **kwargs))
        value = function(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value
