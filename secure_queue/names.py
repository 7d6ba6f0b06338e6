"""What a queue, a task, a priority and a worker may be called.

Names reach Redis keys, log lines and terminals, so their alphabet is closed: no braces (hash tags), no control
characters, nothing that could be mistaken for a separator.
"""

from __future__ import annotations

import re

from secure_queue.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TASK_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_PLAIN = re.compile(rb"[\x20-\x5b\x5d-\x7e]*")
_FUNCTION = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,255}")


def queue_name(text: str) -> str:
    """The plain name of a queue; braces around it (a hash tag) are accepted and taken off.

    Raises ``ConfigurationError`` for anything but 1 to 64 characters of ``A-Z a-z 0-9 _ . -``.
    """
    braced = isinstance(text, str) and text.startswith("{") and text.endswith("}")
    plain = text[1:-1] if braced else text
    return _checked(_NAME, plain, "queue name", "1 to 64 characters of A-Z a-z 0-9 _ . -")


def priority_name(text: str) -> str:
    """*text*, if it can name a priority; raises ``ConfigurationError``."""
    return _checked(_NAME, text, "priority", "1 to 64 characters of A-Z a-z 0-9 _ . -")


def worker_id(text: str) -> str:
    """*text*, if it can name a worker; raises ``ConfigurationError``."""
    return _checked(_NAME, text, "worker id", "1 to 64 characters of A-Z a-z 0-9 _ . -")


def user_name(text: str) -> str:
    """*text*, if it can name a user of a server; raises ``ConfigurationError``."""
    return _checked(_NAME, text, "user name", "1 to 64 characters of A-Z a-z 0-9 _ . -")


def task_id(text: str) -> str:
    """*text*, if it can name a task; raises ``ConfigurationError``."""
    return _checked(_TASK_ID, text, "task id", "1 to 128 characters of A-Z a-z 0-9 _ . : -")


def function_name(text: str) -> str:
    """*text*, if it can name a function (at most 255 bytes of UTF-8); raises ``ConfigurationError``."""
    if isinstance(text, str) and len(text.encode("utf-8", "surrogatepass")) > 255:
        raise ConfigurationError("a task name may have at most 255 bytes of UTF-8; pass a shorter name=")
    return _checked(_FUNCTION, text, "task name", "1 to 255 printable characters")


def header_name(text: str) -> str:
    """*text*, if it can name a header of a call; raises ``ConfigurationError``."""
    return _checked(_NAME, text, "header", "1 to 64 characters of A-Z a-z 0-9 _ . -")


def stored_task_id(untrusted: bytes) -> str | None:
    """The task id that *untrusted* bytes from the server spell, or None if they spell none."""
    try:
        text = untrusted.decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if _TASK_ID.fullmatch(text) else None


def printable(untrusted: bytes | str, limit: int = 128) -> str:
    """*untrusted* as one short line of printable ASCII, for logs and tables; everything else is escaped."""
    raw = untrusted if isinstance(untrusted, bytes) else untrusted.encode("utf-8", "surrogatepass")
    if len(raw) <= limit and _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    text = "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in raw[:limit])
    return text[:limit] + ("…" if len(raw) > limit or len(text) > limit else "")


def _checked(pattern: re.Pattern[str], text: str, what: str, rule: str) -> str:
    if not isinstance(text, str):
        raise ConfigurationError(f"a {what} is a str, not {type(text).__name__}")
    if not pattern.fullmatch(text):
        raise ConfigurationError(f"{printable(text, 40)!r} cannot be a {what}; use {rule}")
    return text
