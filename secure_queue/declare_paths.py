"""Declares tasks by the path of their function, which is imported when the worker starts to run tasks.

So modules of tasks may import the worker object without a circle, and a producer imports none of them. Paths come from the
code of the application; nothing that is stored in the queue is ever imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

from secure_queue.declare import AnyTask, Declarations, elsewhere
from secure_queue.errors import ConfigurationError
from secure_queue.key_options import for_function
from secure_queue.surround import own_surroundings
from secure_queue.task_options import TaskOptions, task_settings
from secure_queue.tasks import RegisteredTask


class PathDeclarations(Declarations):
    """The part of a worker object, or of a router, that knows functions by their path."""

    def __init__(self) -> None:
        super().__init__()
        self.imports: list[Callable[[], object]] = []
        """What is still to be imported."""
        self._imports_at_once = False

    def add(self, path: str, /, **options: Unpack[TaskOptions]) -> AnyTask:
        """Declare the function at *path* (``"app.tasks.send_email"``, or with a colon before its name) as a task.

        It can be enqueued at once, and is imported when the worker starts to run tasks, or now if it has. What stands
        there may be a task of a router or of another worker object already; then that has its options.
        """
        fn_name = options.get("name") or name_in(path)
        settings = task_settings(fn_name, options, self.default_expire_s)
        task: AnyTask = RegisteredTask(elsewhere(fn_name), settings, self, own_surroundings(options))
        self.adopt_elsewhere(task)
        self.import_later(partial(self._import, path, task, has_options=bool(options.keys() - {"name"})))
        return task

    def import_later(self, load_it: Callable[[], object]) -> None:
        """Import something when the worker starts to run tasks; at once if it has."""
        self.imports.append(load_it)
        if self._imports_at_once:
            self.import_tasks()

    def import_tasks(self) -> None:
        """Import what was declared by its path; raises ``ConfigurationError`` for what is not there."""
        self._imports_at_once = False  # what is imported may declare more, which this loop comes to
        try:
            while self.imports:
                self.imports[0]()
                del self.imports[0]
        finally:
            self._imports_at_once = True

    def _import(self, path: str, declared: AnyTask, *, has_options: bool) -> None:
        task = self._found(load(path), path, declared, has_options)
        self.adopt(task, override=True)
        declared.settings = task.settings

    def _found(self, found: Any, path: str, declared: AnyTask, has_options: bool) -> AnyTask:
        """The task that *declared* stands for, now that its function is here."""
        if not isinstance(found, RegisteredTask):
            if not callable(found):
                raise ConfigurationError(f"what stands at {path!r} is no function")
            settings = replace(declared.settings, keying=for_function(declared.settings.keying, found))
            return RegisteredTask(found, settings, self, declared.layers[1:])
        if has_options:
            raise ConfigurationError(f"{path!r} is a task already; give its options where it is declared")
        if found.fn_name != declared.fn_name:
            raise ConfigurationError(f"{path!r} is a task named {found.fn_name!r}; pass add(…, name={found.fn_name!r})")
        return found.bound_to(self)


def load(path: str) -> Any:
    """Import what stands at *path*; raises ``ConfigurationError`` if there is nothing."""
    module, name = _split(path)
    try:
        found: Any = importlib.import_module(module)
        for word in name.split("."):
            found = getattr(found, word)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(f"{path!r} cannot be imported: {error}") from error
    return found


def name_in(path: str) -> str:
    """The last word of a path; raises ``ConfigurationError`` for what can be none."""
    return _split(path)[1].rpartition(".")[2]


def _split(path: str) -> tuple[str, str]:
    text = path if isinstance(path, str) else ""
    module, _, name = text.partition(":") if ":" in text else text.rpartition(".")
    if not module or not name:
        raise ConfigurationError(
            f"{path!r} is no path; one names a module and what stands there, for example 'app.tasks.send_email'"
        )
    return module, name
