"""Heads are small, strict and free when there is nothing to say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.edges import Edge, Lineage, On, Passes
from secure_queue.errors import Rejected
from secure_queue.payload.records import Outcome, PartHead, ResultHead, TaskHead
from secure_queue.payload.serializers import pack_plain

NUMBERS = st.integers(0, 2**63 - 1)
EDGES = st.builds(
    Edge,
    st.integers(0, 63),
    st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True),
    st.binary(min_size=16, max_size=16),
    st.sampled_from(On),
    st.booleans(),
    st.sampled_from(Passes),
)
RESULT = {1: 1, 4: 2, 5: 3, 6: 4, 7: "w", 8: 5}


def test_a_task_head_with_nothing_set_is_no_bytes() -> None:
    assert TaskHead().pack() == b""
    assert TaskHead.unpack(b"") == TaskHead()


def test_the_keys_of_a_task_head_are_the_documented_ones() -> None:
    head = TaskHead(1, 2, 3, "high", 4, {"trace": "5"}, "queued:6", "f7")
    fields = {3: 1, 4: 2, 9: 3, 5: "high", 11: 4, 12: {"trace": "5"}, 13: "queued:6", 14: "f7"}
    assert head.pack() == pack_plain(fields)


def test_a_parent_with_a_generated_id_is_named_by_its_message_id_alone() -> None:
    jti = bytes(range(16))
    edges = Edge(3, f"3.{jti.hex()}", jti), Edge(0, "own", jti, On.END, True, Passes.LISTED)
    packed = TaskHead(lineage=Lineage("w", edges)).pack()
    assert packed == pack_plain({7: ["w", [[3, None, jti, 0], [0, "own", jti, 22]]]})
    assert TaskHead.unpack(packed).lineage == Lineage("w", edges)


@pytest.mark.parametrize(
    "lineage",
    [
        [],
        ["w"],
        ["w", []][:1] * 2,
        ["", []],
        ["w" * 200, []],
        ["w\n", []],
        ["w", [[0, None, b"short", 0]]],
        ["w", [[64, None, b"j" * 16, 0]]],
        ["w", [[-1, None, b"j" * 16, 0]]],
        ["w", [[0, "bad id", b"j" * 16, 0]]],
        ["w", [[0, None, b"j" * 16, 24]]],
        ["w", [[0, None, b"j" * 16]]],
        ["w", [[0, None, b"j" * 16, 0]] * 2001],
    ],
)
def test_a_lineage_that_no_writer_makes_is_refused(lineage: object) -> None:
    with pytest.raises(Rejected, match="malformed"):
        TaskHead.unpack(pack_plain({7: lineage}))


def test_the_keys_of_a_result_head_are_the_documented_ones() -> None:
    head = ResultHead(Outcome.DONE, 2, 3, 4, 5, "w")
    assert head.pack() == pack_plain(RESULT)
    assert head._replace(kept=False).pack() == pack_plain(RESULT | {2: True})


@settings(deadline=None, derandomize=True)
@given(
    st.builds(
        TaskHead,
        *[st.none() | NUMBERS] * 3,
        st.none() | st.text(st.characters(codec="utf-8"), max_size=60),
        st.none() | NUMBERS,
        st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
        *[st.none() | st.text(max_size=60)] * 2,
        st.none() | st.builds(Lineage, st.just("workflow"), st.lists(EDGES, max_size=4).map(tuple)),
    )
)
def test_a_task_head_comes_back(head: TaskHead) -> None:
    assert TaskHead.unpack(head.pack()) == head


@settings(deadline=None, derandomize=True)
@given(
    st.builds(ResultHead, st.sampled_from(Outcome), *[NUMBERS] * 4, st.text(st.characters(codec="utf-8"), max_size=60))
)
def test_a_result_head_comes_back(head: ResultHead) -> None:
    again = ResultHead.unpack(head.pack())
    assert again == head
    assert type(again.outcome) is Outcome


@pytest.mark.parametrize("part", [None, 0, 2**63 - 1])
def test_the_head_of_a_part_comes_back(part: int | None) -> None:
    head = PartHead(b"run", part)
    assert head.pack() == pack_plain({1: b"run"} if part is None else {1: b"run", 2: part})
    assert PartHead.unpack(head.pack()) == head


@pytest.mark.parametrize(
    "fields", [{}, {2: 1}, {1: "run"}, {1: b"", 2: -1}, {1: b"", 2: None}, {1: b"", 3: 1}], ids=repr
)
def test_the_head_of_a_part_with_a_wrong_field_is_malformed(fields: dict) -> None:
    with pytest.raises(Rejected, match="malformed"):
        PartHead.unpack(pack_plain(fields))


@pytest.mark.parametrize("head", [TaskHead, ResultHead, PartHead])
@pytest.mark.parametrize(
    "untrusted",
    [
        b"\xc1",
        b"\x90",
        b"\xc0",
        b"\x81\x00\x00",
        b"\x81\xa1x\x00",
        b"\x83\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 2000,
    ],
    ids=lambda data: data[:5].hex(),
)
def test_bytes_of_another_shape_are_malformed(head: type, untrusted: bytes) -> None:
    with pytest.raises(Rejected, match="malformed"):
        head.unpack(untrusted)


@pytest.mark.parametrize(
    "fields",
    [{3: "1"}, {3: -1}, {3: True}, {4: 2**63}, {9: 1.5}, {5: 5}, {5: "x" * 256}, {3: None}, {3: 1, 99: 1}, {14: b"f7"}]
    + [{12: headers} for headers in (None, [], {1: "a"}, {"a": 1}, {"a": {}}, {b"a": "b"})],
    ids=repr,
)
def test_a_task_head_with_a_wrong_field_is_malformed(fields: dict) -> None:
    with pytest.raises(Rejected, match="malformed"):
        TaskHead.unpack(pack_plain(fields))


@pytest.mark.parametrize(
    "change", [{1: 0}, {1: 4}, {1: True}, {1: "1"}, {4: -1}, {5: None}, {6: 1.0}, {7: 5}, {8: b"1"}, {99: 1}], ids=repr
)
def test_a_result_head_with_a_wrong_field_is_malformed(change: dict) -> None:
    with pytest.raises(Rejected, match="malformed"):
        ResultHead.unpack(pack_plain(RESULT | change))


@pytest.mark.parametrize("key", RESULT)
def test_a_result_head_needs_every_field(key: int) -> None:
    with pytest.raises(Rejected, match="malformed"):
        ResultHead.unpack(pack_plain({other: value for other, value in RESULT.items() if other != key}))
