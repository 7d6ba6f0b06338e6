"""What ``make fuzz`` gives a million inputs, here with a few: the targets work, and find nothing at first sight."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import SEEDS, TARGETS, try_one


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_any_bytes(name: str) -> None:
    seeds = SEEDS[name]

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(st.binary(max_size=600) | st.builds(bytes.__add__, st.sampled_from(seeds), st.binary(max_size=40)))
    def try_some(data: bytes) -> None:
        try_one(name, data)

    for seed in seeds:
        try_one(name, seed)
    try_some()
