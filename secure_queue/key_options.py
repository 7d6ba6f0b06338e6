"""The options about keys, of a task and of one call, as users write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypedDict

from secure_queue.errors import ConfigurationError
from secure_queue.keying import NO_KEYS, ByCall, ByNames, Given, Keying, KeyRule, OnConflict, Scope
from secure_queue.settings import positive_seconds

Key: TypeAlias = Callable[..., object] | str | Sequence[str]


class KeyOptions(TypedDict, total=False):
    """What ``task`` and ``.start(...)`` take; durations in seconds or as timedeltas."""

    unique: bool | str | None
    unique_key: Key | None
    unique_for: float | timedelta | None
    on_conflict: str | None
    debounce: float | timedelta | None
    debounce_max: float | timedelta | None
    throttle: float | timedelta | None
    order_by: Key | None
    fair_by: Key | None


_DURATIONS: Final = {
    "unique_for": "window_s",
    "throttle": "throttle_s",
    "debounce": "quiet_s",
    "debounce_max": "longest_s",
}
_RULES: Final = ("unique_key", "order_by", "fair_by")
OPTIONS: Final = frozenset(KeyOptions.__annotations__)


def keying_of_task(options: KeyOptions) -> Keying:
    """The keys of a task: a text names one of its parameters. Raises ``ConfigurationError``."""
    return _keying(NO_KEYS, options, lambda names: ByNames(tuple(names)))


def keying_of_call(before: Keying, options: KeyOptions) -> Keying:
    """The keys of one call of a task: a text is the key itself. Raises ``ConfigurationError``."""
    if options.get("unique") is True and not before.alone:
        raise ConfigurationError(
            "unique=True belongs to the task, where the worker finds it: @worker.task(unique=True)"
        )
    return _keying(before, options, _given)


def for_function(keying: Keying, function: Callable[..., Any]) -> Keying:
    """The same keys, by the parameters of *function*; raises ``ConfigurationError`` if it has none of that name."""
    if keying is NO_KEYS:
        return keying
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return keying
    rules = (keying.unique_key, keying.order_by, keying.fair_by)
    for name in [name for rule in rules if isinstance(rule, ByNames) for name in rule.names]:
        if name not in signature.parameters:
            raise ConfigurationError(f"the function has no parameter {name!r} to choose a key by; name one that it has")
    return replace(keying, signature=signature)


def _given(names: Sequence[str]) -> KeyRule:
    if len(names) != 1:
        raise ConfigurationError("a call brings its key as one text, for example start(order_by='customer 7')")
    return Given(names[0])


def _keying(before: Keying, options: KeyOptions, of_text: Callable[[Sequence[str]], KeyRule]) -> Keying:
    given: dict[str, Any] = {name: value for name, value in options.items() if name in OPTIONS and value is not None}
    if not given:
        return before
    changes: dict[str, Any] = {}
    if "unique" in given:
        changes |= _scope(given["unique"])
    if "on_conflict" in given:
        changes["on_conflict"] = _policy(given["on_conflict"])
    for name in _DURATIONS.keys() & given.keys():
        changes[_DURATIONS[name]] = positive_seconds(name, given[name], zero=True)
    for name in _RULES:
        if name in given:
            changes[name] = _rule(name, given[name], of_text)
    return _checked(_completed(replace(before, **changes)))


def _scope(unique: object) -> dict[str, Any]:
    if unique is True:
        return {"alone": True, "scope": None}
    if unique is False:
        unlimited = dict.fromkeys(_DURATIONS.values(), 0.0)
        return {"alone": False, "scope": None, "unique_key": None, "on_conflict": OnConflict.SKIP, **unlimited}
    try:
        return {"alone": False, "scope": Scope(unique)}  # type: ignore[arg-type]  # what is no text is refused
    except ValueError:
        raise ConfigurationError("unique= is True, 'queued' or 'unfinished'") from None


def _policy(policy: object) -> OnConflict:
    try:
        return OnConflict(policy)  # type: ignore[arg-type]  # what is no text is refused
    except ValueError:
        raise ConfigurationError("on_conflict= is 'skip', 'raise', 'replace' or 'wait'") from None


def _rule(name: str, key: object, of_text: Callable[[Sequence[str]], KeyRule]) -> KeyRule:
    if callable(key):
        return ByCall(key)
    names = [key] if isinstance(key, str) else list(key) if isinstance(key, Iterable) else []
    if not names or not all(isinstance(one, str) for one in names):
        raise ConfigurationError(f"{name}= is a function of the arguments, or a text, or several names of parameters")
    return of_text(names)


def _completed(keying: Keying) -> Keying:
    """A key alone says that there is one task of it until that has ended; one that waits has a line."""
    spaced = keying.window_s or keying.throttle_s or keying.quiet_s
    if keying.unique_key is not None and keying.scope is None and not keying.alone and not spaced:
        keying = replace(keying, scope=Scope.UNFINISHED)
    return keying


def _checked(keying: Keying) -> Keying:
    """Raise ``ConfigurationError`` for wishes that contradict each other."""
    if keying.alone and keying.is_unique:
        raise ConfigurationError("unique=True is about runs; for calls say unique='queued' or 'unfinished' without it")
    if keying.alone and isinstance(keying.unique_key, Given):
        raise ConfigurationError("unique=True takes its unique_key= from the task, where the worker finds it")
    if keying.order_by is not None and keying.fair_by is not None:
        raise ConfigurationError(
            "a call stands in one line: give order_by= or fair_by=, an ordered line is fair already"
        )
    if bool(keying.throttle_s) + bool(keying.quiet_s) + bool(keying.window_s) > 1:
        raise ConfigurationError("debounce=, throttle= and unique_for= contradict each other; choose one of them")
    if keying.quiet_s and keying.scope is not None:
        raise ConfigurationError("debounce= replaces the call that waits already; leave unique= out")
    if keying.longest_s and not keying.quiet_s:
        raise ConfigurationError("debounce_max= limits debounce=; say that too")
    if keying.longest_s and keying.longest_s < keying.quiet_s:
        raise ConfigurationError("debounce_max= is at least as long as debounce=, which it limits")
    return _checked_policy(keying)


def _checked_policy(keying: Keying) -> Keying:
    policy = keying.on_conflict
    if policy is OnConflict.SKIP:
        return keying
    if keying.alone or not keying.is_unique:
        raise ConfigurationError("on_conflict= belongs to unique='queued' or 'unfinished', unique_key= or unique_for=")
    if keying.quiet_s or (keying.throttle_s and policy is not OnConflict.RAISE):
        raise ConfigurationError("debounce= and throttle= decide conflicts themselves; leave on_conflict= out")
    if policy is OnConflict.WAIT and (keying.scope is not Scope.UNFINISHED or keying.window_s):
        raise ConfigurationError("on_conflict='wait' waits for the end of another one: say unique='unfinished'")
    if policy is OnConflict.WAIT and (keying.order_by is not None or keying.fair_by is not None):
        raise ConfigurationError("on_conflict='wait' is a line of its own; leave order_by= and fair_by= out")
    return keying
