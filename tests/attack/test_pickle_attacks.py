"""The known ways to run code with a pickle, against the loader and against the scan."""

import copyreg
import os
import pickle
import random
from collections import OrderedDict
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from secure_queue.errors import Rejected
from secure_queue.payload.restricted_pickle import RestrictedPickle, scan_pickle

ALLOW = [datetime, OrderedDict]


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/secure-queue-attack-marker",)


def memo_swap() -> bytes:
    names = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x8c\x02os\x94\x8c\x06system\x94"
    return b"\x80\x04" + names + b"h\x02h\x03\x93\x8c\x04true\x85R."


SAMPLES = {
    "os.system, protocol 0": (pickle.dumps(Evil(), 0), "global-not-allowed"),
    "os.system, protocol 2": (pickle.dumps(Evil(), 2), "global-not-allowed"),
    "os.system, protocol 4": (pickle.dumps(Evil(), 4), "global-not-allowed"),
    "INST": (b"(S'true'\nios\nsystem\n.", "opcode-INST"),
    "OBJ": (b"(cos\nsystem\nS'true'\no.", "opcode-OBJ"),
    "names swapped through the memo": (memo_swap(), "global-not-allowed"),
    "a computed name": (b"\x80\x04\x8c\x02os\x8c\x03sys\x85\x93.", "computed-global"),
    "EXT1": (b"\x80\x04\x82\x01.", "opcode-EXT1"),
    "EXT2": (b"\x80\x04\x83\x01\x00.", "opcode-EXT2"),
    "EXT4": (b"\x80\x04\x84\x01\x00\x00\x00.", "opcode-EXT4"),
    "PERSID": (b"P1\n.", "opcode-PERSID"),
    "BINPERSID": (b"\x80\x04K\x01Q.", "opcode-BINPERSID"),
    "a dotted name": (b"\x80\x04\x8c\x08datetime\x8c\x12datetime.__class__\x93.", "global-not-allowed"),
    "a dotted builtin": (b"\x80\x04\x8c\x08builtins\x8c\x0dstr.__class__\x93.", "global-not-allowed"),
    "getattr": (b"cbuiltins\ngetattr\n.", "global-not-allowed"),
    "trailing byte": (pickle.dumps(1) + b"x", "trailing-bytes"),
    "two pickles": (pickle.dumps(1) + pickle.dumps(Evil()), "trailing-bytes"),
    "cut short": (pickle.dumps([1, 2, 3])[:-1], "unparseable"),
    "nothing": (b"", "unparseable"),
    "an empty stack": (b"0.", "unparseable"),
    "an out-of-band buffer": (b"\x80\x05\x97.", "opcode-NEXT_BUFFER"),
}


@pytest.mark.attack(55)
@pytest.mark.parametrize("sample", SAMPLES)
def test_the_scan_names_what_is_wrong(sample: str) -> None:
    data, reason = SAMPLES[sample]
    report = scan_pickle(data, RestrictedPickle(ALLOW).allowed_names)
    assert (report.ok, report.reason) == (False, reason)


@pytest.mark.attack(55)
@pytest.mark.parametrize("static_scan", [False, True])
@pytest.mark.parametrize("sample", SAMPLES)
def test_the_loader_refuses_it_with_and_without_the_scan(sample: str, static_scan: bool) -> None:
    with pytest.raises(Rejected) as caught:
        RestrictedPickle(ALLOW, static_scan=static_scan).loads(SAMPLES[sample][0])
    assert caught.value.reason in {"global-not-allowed", "pickle-refused", "trailing-bytes", "undeserializable"}
    assert not Path("/tmp/secure-queue-attack-marker").exists()


def test_a_warm_extension_cache_does_not_bypass_the_allowlist() -> None:
    copyreg.add_extension("os", "system", 0x77)
    try:
        assert pickle.loads(b"\x80\x02\x82\x77.") is os.system
        with pytest.raises(Rejected, match="pickle-refused"):
            RestrictedPickle(ALLOW).loads(b"\x80\x02\x82\x77.")
    finally:
        copyreg.remove_extension("os", "system", 0x77)
        copyreg._extension_cache.clear()


@pytest.mark.attack(55)
@pytest.mark.parametrize("index", [b"\xff\xff\xff\x7f", b"\x00\x2d\x31\x01"])
def test_a_memo_bomb_is_refused_before_it_is_loaded(index: bytes) -> None:
    with pytest.raises(Rejected, match="pickle-refused"):
        RestrictedPickle(ALLOW, static_scan=True).loads(b"\x80\x04]r" + index + b".")


def test_deep_nesting_is_refused_by_the_scan() -> None:
    deep = b"\x80\x04" + b"]" * 500 + b"a" * 499 + b"."
    assert scan_pickle(deep, frozenset()).reason == "too-deep"


def test_a_long_listing_is_refused_by_the_scan() -> None:
    assert scan_pickle(b"\x80\x04" + b"N0" * 100_001 + b"N.", frozenset()).reason == "too-many-opcodes"


def test_the_scan_does_not_see_a_hash_bomb_which_is_why_pickle_is_for_trusted_keys() -> None:
    bomb = b"\x80\x04})" + b"2\x86" * 28 + b"Ns."
    assert scan_pickle(bomb, frozenset()).ok


def test_a_pickle_inside_bytes_is_data() -> None:
    data = pickle.dumps(pickle.dumps(Evil()))
    assert RestrictedPickle(ALLOW, static_scan=True).loads(data) == pickle.dumps(Evil())


def test_mutants_are_loaded_or_rejected() -> None:
    serializer = RestrictedPickle(ALLOW)
    dice = random.Random(4)
    original = serializer.dumps([1, "text", {"k": (datetime(2026, 1, 1), OrderedDict(a=[1.5]))}, {1, 2}])
    for _ in range(10_000):
        mutant = bytearray(original)
        mutant[dice.randrange(len(mutant))] = dice.randrange(256)
        data = bytes(mutant)
        report = scan_pickle(data, serializer.allowed_names)
        if not report.ok:
            continue  # a memo bomb among the mutants would cost real memory
        with suppress(Rejected):
            serializer.loads(data)
