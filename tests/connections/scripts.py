"""Small scripts for the tests of links."""

from __future__ import annotations

import hashlib

from secure_queue.redis.scripts import Script


def script(source: str) -> Script:
    """*source* as the loader would give it."""
    return Script("test", source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


ECHO = script("return {KEYS[1], ARGV[1]}")
NOTHING = script("return 1")
INCREMENT = script("return redis.call('INCR', KEYS[1])")
MARK = script("redis.call('ZADD', KEYS[1], 0, '0') return 1")
PUBLISH = script("return redis.call('PUBLISH', ARGV[1], ARGV[2])")
PUSH_AND_MARK = script("redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('ZADD', KEYS[2], 0, '0') return 1")
