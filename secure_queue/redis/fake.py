"""Runs Lua scripts and commands on fakeredis, with its deviations from a real server put right.

The data and the commands are fakeredis'; scripts run here in a Lua of our own, because fakeredis' deviates where a
script would notice: errors caught by ``pcall`` are Python objects, unknown globals read as nil, one write to a global
disables the server for good, and every call compiles its script anew. Each deviation has its snippet in
``tests/connections/test_memory_faithful.py``. The time is that of ``clock.py``, which a test may move. Left out are the
modules ``cjson``, ``cmsgpack`` and ``struct`` (scripts here move sealed bytes and never look inside), ``redis.setresp`` and
the exact texts of errors behind their codes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from secure_queue.clock import now_ms
from secure_queue.errors import ConfigurationError
from secure_queue.redis.link import Argument, Reply
from secure_queue.redis.scripts import Script

try:
    import redis
    from fakeredis import FakeServer
    from fakeredis._commands import COMMANDS_WITH_SUB
    from fakeredis._helpers import SimpleError
    from fakeredis._socket._fakesocket import FakeSocket
    from lupa import lua51
except ImportError as missing:
    raise ConfigurationError("memory:// needs fakeredis and lupa; pip install secure-queue[memory]") from missing

# What a real server does around scripts: strict globals, error tables that pcall turns into strings, {err=…} as reply.
_AROUND = b"""
local invoke, sha1hex, bit = ...
local function fail(text) error({err = text}, 0) end
local function caught(ok, ...)
  local e = (...)
  if not ok and type(e) == 'table' and e.err ~= nil then return ok, e.err end
  return ok, ...
end
local redis = {
  call = function(...) local ok, reply = invoke(...) if not ok then fail(reply) end return reply end,
  pcall = function(...) local ok, reply = invoke(...) if not ok then return {err = reply} end return reply end,
  error_reply = function(text) return {err = text} end,
  status_reply = function(text) return {ok = text} end,
  log = function() end, sha1hex = sha1hex, replicate_commands = function() return true end,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
}
local known = {
  redis = redis, bit = bit, string = string, table = table, math = math,
  pcall = function(...) return caught(pcall(...)) end, xpcall = xpcall, assert = assert, error = error,
  getmetatable = getmetatable, setmetatable = setmetatable, rawequal = rawequal, rawget = rawget, rawset = rawset,
  ipairs = ipairs, next = next, pairs = pairs, select = select, unpack = unpack,
  tonumber = tonumber, tostring = tostring, type = type,
  loadstring = loadstring, collectgarbage = collectgarbage, coroutine = coroutine, _VERSION = _VERSION,
}
setmetatable(known, {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
  __newindex = function() error('Attempt to modify a readonly table', 2) end,
})
local function answer(ok, result)
  if ok then return result end
  if type(result) == 'table' and result.err ~= nil then return {err = result.err} end
  return {err = 'ERR ' .. tostring(result)}
end
local function prepare(source)
  local script, fault = loadstring(source, '@user_script')
  if not script then return nil, fault end
  setfenv(script, known)
  return function(keys, args)
    rawset(known, 'KEYS', keys)
    rawset(known, 'ARGV', args)
    return answer(pcall(script))
  end
end
return prepare
"""


class ErrorReply(Exception):
    """An error as the server spells it."""


class Fake:
    """One fakeredis server and the one client that talks to it; not thread-safe."""

    def __init__(self) -> None:
        self._server = FakeServer(version=(7, 0))
        self._socket = _Socket(self._server, 0, client_class=redis.Redis)

    def run(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> Reply:
        """Run *script* to its end, or to its first error, as a server does: what it wrote before stays written."""
        self._server.script_cache.setdefault(script.sha.encode(), script.source.encode())
        return self.send(b"EVALSHA", script.sha, len(keys), *keys, *args)

    def send(self, *parts: Argument) -> Reply:
        """Run one command that does not block; raises ``ErrorReply``."""
        self._socket._process_command([part if isinstance(part, bytes) else str(part).encode() for part in parts])
        reply = cast(Any, self._socket.responses).get_nowait()
        if isinstance(reply, ErrorReply):
            raise reply
        return cast(Reply, reply)

    def exists(self, key: bytes) -> bool:
        """Whether there is anything under *key*."""
        return key in self._socket._db

    def subscribe(self, channel: bytes, mailbox: object) -> None:
        """Call ``mailbox.put_response([b"message", channel, message])`` for whatever is published."""
        self._server.subscribers[channel].add(mailbox)

    def unsubscribe(self, channel: bytes, mailbox: object) -> None:
        """End a subscription."""
        self._server.subscribers[channel].discard(mailbox)


class _Socket(FakeSocket):
    """fakeredis' connection with scripts that behave as on a server, and errors that keep their spelling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._prepare = self._lua.execute(_AROUND, self._invoke, _sha1hex, self._lua.table_from(_BIT))
        self._prepared: dict[bytes, Callable[[object, object], object]] = {}

    def eval(self, script: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        run = self._prepared.get(script)
        if run is None:
            run = self._prepared[script] = self._compile(script)
        keys, args = keys_and_args[:numkeys], keys_and_args[numkeys:]
        self._script_resp = 2  # as a server does: scripts speak RESP2
        try:
            result = run(self._lua.table_from(keys), self._lua.table_from(args))
        finally:
            self._script_resp = None
        return self._convert_lua_result(result, nested=False)

    def time(self) -> list[bytes]:
        seconds, ms = divmod(now_ms(), 1000)
        return [b"%d" % seconds, b"%d" % (ms * 1000)]

    def _run_command(self, func: Any, sig: Any, args: list[Any], from_script: bool) -> Any:
        if not from_script:
            self._db.time = now_ms() / 1000
        return super()._run_command(func, sig, args, from_script)

    def _compile(self, script: bytes) -> Callable[[object, object], object]:
        prepared = self._prepare(script)
        if isinstance(prepared, tuple):
            raise SimpleError(f"ERR Error compiling script: {prepared[1].decode('utf-8', 'replace')}")
        return cast(Callable[[object, object], object], prepared)

    def _invoke(self, *parts: Any) -> tuple[bool, Any]:
        """Run one command for a script; the reply, or the text of the error."""
        try:
            name, *words = [_word(part) for part in parts]
            if name.upper() in _EXPIRING and len(words) > 1 and _overdue(words[1]):
                name, words = b"DEL", words[:1]  # fakeredis would show the key until the next command
            if name.upper() == b"XADD" and words[1:2] == [b"*"]:
                words[1] = self._entry_id(words[0])
            reply = self._convert_redis_result(self._lua, self._run(name.decode().lower(), words))
        except SimpleError as error:
            return False, error.value.encode()
        return True, reply

    def _entry_id(self, stream: bytes) -> bytes:
        """The id that a server makes of ``*``: of this moment, or of the last entry's if that is later."""
        entries = self._run("xrevrange", [stream, b"+", b"-", b"COUNT", b"1"])
        last_ms = int(entries[0][0].partition(b"-")[0]) if entries else 0
        return b"*" if last_ms > now_ms() else b"%d-*" % now_ms()

    def _run(self, name: str, words: list[bytes]) -> Any:
        if name in COMMANDS_WITH_SUB and words:
            name, words = f"{name} {words[0].decode().lower()}", words[1:]
        function, signature = self._name_to_func(name)
        signature.check_arity(words, self.version)
        return self._run_command(function, signature, words, True)

    def _decode_error(self, error: Any) -> Any:
        return ErrorReply(error.value)


def _word(part: object) -> bytes:
    """One argument of ``redis.call``, spelled as a server spells it; booleans, nil and tables are refused."""
    if type(part) is bytes:
        return part
    if type(part) in (int, float):
        return f"{part:.17g}".encode()
    raise SimpleError("ERR Lua redis lib command arguments must be strings or integers")


_EXPIRING = (b"PEXPIRE", b"EXPIRE")


def _overdue(ttl: bytes) -> bool:
    return ttl.startswith(b"-") or ttl == b"0"


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def _signed(number: float) -> int:
    """*number* as LuaJIT's ``bit`` sees it: 32 bits with a sign."""
    low = int(number) & 0xFFFFFFFF
    return low - (1 << 32) if low & (1 << 31) else low


def _fold(function: Callable[[int, int], int]) -> Callable[..., int]:
    def folded(first: float, *rest: float) -> int:
        result = int(first)
        for number in rest:
            result = function(result, int(number))
        return _signed(result)

    return folded


_BIT: dict[bytes, Callable[..., object]] = {
    b"band": _fold(int.__and__),
    b"bor": _fold(int.__or__),
    b"bxor": _fold(int.__xor__),
    b"bnot": lambda number: _signed(~int(number)),
    b"tobit": _signed,
    b"lshift": lambda number, by: _signed(int(number) << (int(by) & 31)),
    b"rshift": lambda number, by: _signed((int(number) & 0xFFFFFFFF) >> (int(by) & 31)),
    b"tohex": lambda number: b"%08x" % (int(number) & 0xFFFFFFFF),
}
