"""Functions that run in processes: a process imports them from here."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from secure_queue import SoftTimeout, Worker
from secure_queue.payload.keys import format_key, generate_key

SECRETS = ("SECURE_QUEUE_KEYS", "SECURE_QUEUE_KEYS_FILE", "SECURE_QUEUE_URL", "SECURE_QUEUE_AUDIT_KEY")

declared: Worker[None] = Worker("memory://", signing_secret=format_key(generate_key("tests")))


def square(number: int) -> tuple[int, int]:
    print("what a task prints is no answer")
    return number * number, os.getpid()


@declared.task(process=True)
def who() -> tuple[str, int, bool]:
    context = who.context
    return context.task_id, context.tries, any(os.environ.get(name, "") == "secret" for name in SECRETS)


class Custom(Exception):
    """Can be written by pickle, and not be read: it wants two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def fail(how: str) -> Any:
    if how == "ValueError":
        raise ValueError("the words of the error")
    if how == "odd":
        raise Custom("words", "more")
    if how == "local":

        class Local(LookupError): ...

        raise Local("words")
    if how == "SystemExit":
        raise SystemExit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    return lambda: None


def die_once(mark: str, how: str) -> str:
    if Path(mark).exists():
        return "alive"
    Path(mark).touch()
    if how == "exit":
        os._exit(7)
    os.kill(os.getpid(), 9)
    return "dead"


def hang_once(mark: str) -> str:
    if Path(mark).exists():
        return "at last"
    Path(mark).touch()
    time.sleep(600)
    return "never"


def hang(mark: str) -> None:
    Path(mark).write_text(str(os.getpid()))
    time.sleep(600)


@declared.task(soft_timeout=0.5, timeout=600, process=True)
def tidy() -> str:
    try:
        time.sleep(600)
    except SoftTimeout:
        return "saved"
    return "done"


@declared.task(timeout=2, process=True)
def longer() -> float:
    left = longer.extend_timeout(10)
    time.sleep(2.3)
    return left
