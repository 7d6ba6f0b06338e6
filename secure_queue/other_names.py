"""What options and methods of other task queues are called here, for those who look for them under the names that they know.

A name of theirs is never taken for one of ours by itself, because some mean something else elsewhere: ``retries`` are all
tries in one library and the further ones in another. It is answered by an error that says what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from secure_queue.errors import ConfigurationError

_TRIES: Final = "max_tries=, which counts all tries, the first one too"
_TTL: Final = "ttl= (or result_ttl=)"
_ID: Final = ".start(id=…) of the call, or unique_key= where one at a time is meant"

_OF_BOTH: Final = {
    **dict.fromkeys(("retries", "max_retries", "attempts", "max_attempts", "max_executions", "job_try"), _TRIES),
    **dict.fromkeys(("keep_result", "keep_result_s", "retention", "store_results"), _TTL),
    **dict.fromkeys(("time_limit", "job_timeout", "execution_timeout"), "timeout="),
    "soft_time_limit": "soft_timeout=",
    **dict.fromkeys(("expires", "age_limit"), "expire="),
    **dict.fromkeys(("key", "job_id", "task_id", "deduplication_id"), _ID),
}
OF_TASKS: Final = _OF_BOTH | {
    **dict.fromkeys(
        ("retry_delay", "retry_backoff", "default_retry_delay"), "retry_policy=RetryPolicy(base=…, factor=…)"
    ),
    **dict.fromkeys(("min_backoff", "max_backoff"), "retry_policy=RetryPolicy(base=…, cap=…)"),
    "autoretry_for": "retry_on=",
    **dict.fromkeys(("rate_limit", "max_rate"), "limits=RateLimit(100, per=60)"),
    **dict.fromkeys(("concurrency", "max_concurrency", "concurrency_limit"), "limits=ConcurrencyLimit(5)"),
    **dict.fromkeys(("cron", "schedule", "crontab"), "the decorator @worker.cron('0 3 * * *')"),
    **dict.fromkeys(("run_in_process", "in_process"), "process="),
    **dict.fromkeys(("channel", "queue_name"), "queue= in a Router, or the Worker object of that queue"),
    "fn_name": "name=",
    "priority": ".start(priority=…) of the call",
    "heartbeat": "idle_timeout= of the Worker, which prolongs leases by itself",
}
OF_CALLS_BY_NAME: Final = {
    "_job_id": ".start(id=…)",
    "_defer_by": ".start(delay=…)",
    "_defer_until": ".start(schedule=…)",
    "_expires": ".start(expire=…)",
    "_job_try": ".start(max_tries=…)",
    "_queue_name": "the Worker object of that queue",
}
"""What ARQ takes among the arguments of the function."""
OF_CALLS: Final = (
    _OF_BOTH
    | OF_CALLS_BY_NAME
    | {
        **dict.fromkeys(("defer_by", "deferred_by", "countdown", "process_in"), "delay="),
        **dict.fromkeys(("defer_until", "deferred_until", "scheduled", "eta", "run_after", "process_at"), "schedule="),
        **dict.fromkeys(("cron", "crontab"), "schedule='0 3 * * *'"),
        **dict.fromkeys(("id_", "uuid"), "id="),
        **dict.fromkeys(("meta", "labels", "metadata"), "headers="),
        **dict.fromkeys(("depends_on", "parents"), "after="),
        **dict.fromkeys(("retry_delay", "retry_backoff", "retry_policy"), "retry_policy= of the task"),
        "soft_timeout": "soft_timeout= of the task",
        "run_in_process": "process= of the task",
        "heartbeat": "idle_timeout= of the Worker, which prolongs leases by itself",
    }
)
OF_WORKERS: Final = {
    **dict.fromkeys(("max_jobs", "tasks_limit", "max_tasks", "workers", "worker_concurrency"), "concurrency="),
    **dict.fromkeys(("graceful_shutdown_time", "shutdown_grace_period_s", "shutdown_timeout"), "grace_period="),
    **dict.fromkeys(("job_completion_wait", "wait_tasks_timeout"), "grace_period="),
    **dict.fromkeys(("visibility_timeout", "redelivery_timeout", "lock_duration", "lease"), "idle_timeout="),
    **dict.fromkeys(("job_timeout", "timeout"), "timeout= of each task"),
    **dict.fromkeys(("max_tries", "retries", "max_retries"), "max_tries= of each task, which counts all tries"),
    **dict.fromkeys(("ttl", "result_ttl", "keep_result"), "ttl= of each task"),
    **dict.fromkeys(("on_startup", "before_start"), "startup="),
    **dict.fromkeys(("on_shutdown", "after_stop"), "shutdown="),
    **dict.fromkeys(("on_job_start", "before_enqueue"), "before_process=, or the decorator @worker.before_enqueue"),
    **dict.fromkeys(("on_job_end", "after_job_end"), "after_process="),
    **dict.fromkeys(("functions", "actors"), "tasks="),
    **dict.fromkeys(("cron_jobs", "scheduled_tasks"), "the decorator @worker.cron('0 3 * * *')"),
    "middlewares": "the decorator @worker.middleware",
    **dict.fromkeys(("burst", "max_burst_jobs"), "worker.burst = True, or --burst on the command line"),
    **dict.fromkeys(("secret_key", "signing_key", "secret"), "signing_secret="),
    **dict.fromkeys(("url", "dsn", "redis_settings", "broker_url"), "redis_url="),
    **dict.fromkeys(
        ("name", "queue", "queues"), "queue_name=; several queues are several Worker objects, for serve(a, b)"
    ),
    **dict.fromkeys(("poll_delay", "poll_interval"), "nothing: workers are woken"),
    "allow_abort_jobs": "nothing: every task can be aborted",
    "health_check_interval": "nothing: secure-queue check sees who lives",
    "ctx": "worker.state, which startup= may fill",
    "auto_declare": "nothing: a queue exists when something is in it",
    **dict.fromkeys(("timezone", "time_zone"), "tz="),
}
_RESULT: Final = "await handle.result(timeout=5)"
OF_HANDLES: Final = {
    **dict.fromkeys(("revoke", "kill", "terminate"), "abort(), or cancel()"),
    **dict.fromkeys(("wait", "wait_result", "get", "result_info"), _RESULT),
    **dict.fromkeys(("refresh", "is_ready", "ready", "state", "get_state"), "await handle.status()"),
    "update": "await task.report(value) inside of the task",
    "on_success": "then(task)",
    "on_failure": "otherwise(task)",
}
OF_FUNCTIONS: Final = {
    **dict.fromkeys(("delay", "kiq", "send", "submit", "apply_async", "enqueue_job"), "await task.enqueue(…)"),
    **dict.fromkeys(("si", "s", "signature"), "task.enqueue(…), which is enqueued when it is awaited"),
    **dict.fromkeys(("kicker", "with_options", "options", "configure", "using"), "task.enqueue(…).start(…)"),
    **dict.fromkeys(("schedule", "schedule_by_time", "send_with_options"), "task.enqueue(…).start(schedule=…)"),
}
OF_WORKER_OBJECTS: Final = {
    **dict.fromkeys(("enqueue", "enqueue_job", "send_message", "send_task"), "worker.enqueue_by_name('name', …)"),
    **dict.fromkeys(("run", "async_run", "start"), "await worker.run_async(), or worker.run_sync()"),
    "apply": "await (await worker.enqueue_by_name('name', …)).result()",
    **dict.fromkeys(("job", "func", "function"), "the decorator @worker.task"),
    **dict.fromkeys(("scheduled", "periodic_task"), "the decorator @worker.cron('0 3 * * *')"),
    **dict.fromkeys(("on_event", "before_startup"), "the decorators @worker.on_startup and @worker.on_shutdown"),
    **dict.fromkeys(("magic", "connect", "close", "disconnect", "declare"), "nothing: async with worker: opens it"),
    "add_middlewares": "the decorator @worker.middleware",
    "register_before_enqueue": "the decorator @worker.before_enqueue",
}


def unknown(what: str, given: Iterable[str], others: Mapping[str, str]) -> TypeError:
    """The error for options that there are not, with the names here of those that *others* know."""
    told = [f"{name} (here it is {others[name]})" if name in others else name for name in sorted(given)]
    return TypeError(f"no such option of a {what}: {', '.join(told)}")


def with_one_ttl(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options with ``ttl`` where they say ``result_ttl``, as some are used to; not both."""
    given = dict(options)
    if "result_ttl" in given:
        if "ttl" in given:
            raise ConfigurationError("ttl= and result_ttl= are the same; give one of them")
        given["ttl"] = given.pop("result_ttl")
    return given


class OtherNames:
    """Answers the names that methods have elsewhere."""

    __slots__ = ()
    _other_names: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # a type checker is to go on telling what there is not

        def __getattr__(self, name: str) -> object:
            if name in type(self)._other_names:
                raise AttributeError(f"there is no {name} here; it is {self._other_names[name]}")
            return object.__getattribute__(self, name)  # raises what was raised before
