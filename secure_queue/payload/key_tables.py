"""One ``[[key]]`` table of a key file, read strictly and written back; pure but for the reader of secret files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from secure_queue.errors import KeyRingError
from secure_queue.payload.grants import EVERYTHING, Grants
from secure_queue.payload.keys import (
    KeyEntry,
    KeyKind,
    KeyState,
    check_name,
    decode_field,
    encode_field,
    has_state,
    parse_key,
    parse_kind,
    parse_purpose,
    parse_state,
)

_SECRETS: Final = ("secret", "secret_file", "public")
_GRANTS: Final = frozenset({"purposes", "queues", "functions", "not_after"})
_FIELDS: Final = frozenset({"name", "state", "kind", *_SECRETS, *_GRANTS})
_PAIRS: Final = frozenset({KeyKind.SEED, KeyKind.PUBLIC})
_PLAIN_PATH: Final = re.compile(r"[^\x00-\x1f\x7f\"\\]+")
_PATTERN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,255}")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key of the file, and the file of its own that holds its secret, if it has one."""

    entry: KeyEntry
    secret_file: str | None = None


def key_of_table(table: Any, read: Callable[[str], str], where: object) -> StoredKey:
    """Read one table of the file *where*; *read* gives the text of a secret file by its path."""
    match table:
        case {"name": str() as name, "state": str() as state} if table.keys() <= _FIELDS:
            check_name(name)
            entry = _entry(name, parse_state(state), table, read, where)
            return StoredKey(replace(entry, grants=_grants(table, entry.kind, where)), table.get("secret_file"))
    raise _malformed(where)


def table_text(stored: StoredKey) -> str:
    """The table as TOML."""
    entry = stored.entry
    check_name(entry.name)
    lines = ["[[key]]", f'name = "{entry.name}"', f'state = "{entry.state.value}"']
    if entry.kind not in (KeyKind.ROOT, KeyKind.PUBLIC) and stored.secret_file is None:
        lines.append(f'kind = "{entry.kind.value}"')
    lines += [_secret_line(stored), *_grant_lines(entry)]
    return "\n" + "\n".join(lines) + "\n"


def _entry(name: str, state: KeyState, table: Mapping[str, Any], read: Callable[[str], str], where: object) -> KeyEntry:
    given = [field for field in _SECRETS if field in table]
    if len(given) != 1 or not isinstance(table[given[0]], str):
        raise _malformed(where)
    text = table[given[0]]
    if given == ["public"]:
        return decode_field(name, state, KeyKind.PUBLIC, text)
    if given == ["secret_file"]:
        text = read(text).strip()
        if has_state(text):
            return replace(parse_key(text), name=name, state=state)
    return decode_field(name, state, parse_kind(str(table.get("kind", KeyKind.ROOT.value))), text)


def _grants(table: Mapping[str, Any], kind: KeyKind, where: object) -> Grants:
    """What the table lets the holder of an Ed25519 key sign; it must say so."""
    if kind not in _PAIRS:
        if table.keys() & _GRANTS:
            raise KeyRingError(
                f"only Ed25519 keys have purposes, queues, functions or not_after ({where}); scope a symmetric key with "
                "`secure-queue keys scope`"
            )
        return EVERYTHING
    purposes = frozenset(parse_purpose(word) for word in _texts(table, "purposes", None, where))
    queues = _texts(table, "queues", ("*",), where)
    functions = _texts(table, "functions", ("*",), where)
    return Grants(purposes, queues, functions, _moment_ms(table.get("not_after"), where))


def _texts(table: Mapping[str, Any], field: str, default: tuple[str, ...] | None, where: object) -> tuple[str, ...]:
    match table.get(field, default):
        case None:
            raise KeyRingError(
                f'an Ed25519 key of {where} does not say what it may sign; add purposes = ["task"], or ["result"]'
            )
        case [_, *_] as listed if all(isinstance(each, str) and _PATTERN.fullmatch(each) for each in listed):
            return tuple(listed)
    raise KeyRingError(f'{field} in {where} is a list of texts that is not empty, for example ["*"]')


def _moment_ms(given: object, where: object) -> int | None:
    if given is None:
        return None
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise KeyRingError(f"not_after in {where} is a moment with its zone, for example 2027-06-01T00:00:00Z")
    return round(given.timestamp() * 1000)


def _secret_line(stored: StoredKey) -> str:
    if stored.secret_file is None:
        field = "public" if stored.entry.kind is KeyKind.PUBLIC else "secret"
        return f'{field} = "{encode_field(stored.entry)}"'
    if _PLAIN_PATH.fullmatch(stored.secret_file):
        return f'secret_file = "{stored.secret_file}"'
    raise KeyRingError("a secret_file path with quotes, backslashes or control characters cannot be written back")


def _grant_lines(entry: KeyEntry) -> list[str]:
    if entry.kind not in _PAIRS:
        return []
    grants = entry.grants
    listed = {
        "purposes": sorted(purpose.word for purpose in grants.purposes),
        "queues": grants.queues,
        "functions": grants.functions,
    }
    # A list of texts is written in JSON as in TOML, as long as it has no control characters.
    lines = [f"{field} = {json.dumps(texts, ensure_ascii=False)}" for field, texts in listed.items()]
    if grants.not_after_ms is not None:
        lines.append(f"not_after = {datetime.fromtimestamp(grants.not_after_ms / 1000, UTC).isoformat()}")
    return lines


def _malformed(where: object) -> KeyRingError:
    return KeyRingError(
        f"each [[key]] of {where} needs name, state, and either secret or secret_file (or public, with purposes), and "
        "nothing else"
    )
