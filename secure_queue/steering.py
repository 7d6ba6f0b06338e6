"""What operators do to a queue in use: pause it and resume it; and the answer to why a task does not run."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime, timedelta

from secure_queue import names
from secure_queue.clock import now_ms
from secure_queue.declare_schedules import Declared
from secure_queue.errors import ConfigurationError
from secure_queue.explaining import Explaining
from secure_queue.oversight import Oversight
from secure_queue.pausing import MOST_PAUSES, Pause, spelled, told
from secure_queue.reasons import Explanation
from secure_queue.settings import positive_seconds


class Steering(Oversight):
    """The part of a worker object that steers the queue from outside; open it first (``async with worker:``)."""

    declared_schedules: dict[str, Declared]

    @abstractmethod
    def _priorities(self) -> tuple[str, ...]: ...

    async def pause(
        self,
        *,
        priority: str | None = None,
        task: str | None = None,
        seconds: float | timedelta | None = None,
        until: datetime | None = None,
    ) -> None:
        """Let workers begin nothing more: of the queue, of one *priority*, or of the *task* of that name.

        It lasts for so many *seconds*, *until* an aware datetime, or until ``resume``; what is paused already is given the
        new end. Running tasks go on, tasks are enqueued and schedules fire as before. Of the queue and of priorities nothing
        is claimed from the moment when this returns; workers learn of the name of a task within about a second. Raises
        ``ConfigurationError``.
        """
        what, left_ms = self._what(priority, task), _left_ms(seconds, until)
        paused = await self._client().routes.everywhere(lambda storage: storage.pause({what: left_ms}))
        if not all(paused):
            raise ConfigurationError(f"{MOST_PAUSES:,} pauses are in force already; resume some first")

    async def resume(self, *, priority: str | None = None, task: str | None = None) -> bool:
        """End the pause of the queue, of a priority or of a task; False if there was none. Each has its own."""
        what = self._what(priority, task)
        return any(await self._client().routes.everywhere(lambda storage: storage.resume(what)))

    async def paused(self) -> list[Pause]:
        """What is paused now."""
        return told(await self._client().routes.at(0).storage.untrusted_pauses())

    async def explain_by_id(self, task_id: str) -> Explanation:
        """Why a task does not run, or what has become of it; when a schedule fires. Nothing is changed, no value opened."""
        client, declared = self._client(), self.declared_schedules
        return await Explaining(client, self._priorities(), self._why_put_aside, declared).of(task_id)

    explain = explain_by_id

    async def _why_put_aside(self, task_id: str) -> str:
        found = [kept.finding.code.value async for kept in self.quarantined() if kept.finding.id == task_id]
        return found[-1] if found else ""

    def _what(self, priority: str | None, task: str | None) -> str:
        if priority is not None and task is not None:
            raise ConfigurationError("name a priority or a task, not both")
        if priority is not None and priority not in self._priorities():
            raise ConfigurationError(f"no priority {priority!r} in this worker's priorities=; add it there")
        return spelled(priority, names.function_name(task) if task is not None else None)


def _left_ms(seconds: float | timedelta | None, until: datetime | None) -> int:
    """For how many milliseconds a pause holds; 0: until it is resumed."""
    if seconds is not None and until is not None:
        raise ConfigurationError("a pause takes either seconds= or until=, not both")
    if seconds is not None:
        return max(1, round(positive_seconds("seconds", seconds) * 1000))
    if until is None:
        return 0
    if not isinstance(until, datetime) or until.utcoffset() is None:
        raise ConfigurationError("until= of a pause is an aware datetime; say datetime(…, tzinfo=UTC)")
    left_ms = round(until.timestamp() * 1000) - now_ms()
    if left_ms <= 0:
        raise ConfigurationError("until= of a pause is in the past")
    return left_ms
