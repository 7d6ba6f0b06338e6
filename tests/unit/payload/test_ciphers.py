"""The derivation equals the library's HKDF, and the tag is HMAC-SHA256."""

import hmac
from concurrent.futures import ThreadPoolExecutor

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_queue.payload import ciphers

KEY = bytes(range(100, 132))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(key=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_a_tag_is_hmac_sha256(key: bytes, message: bytes) -> None:
    assert ciphers.tag(ciphers.mac_state(key), message) == hmac.digest(key, message, "sha256")


@settings(deadline=None, derandomize=True, max_examples=50)
@given(root=st.binary(min_size=32, max_size=32), salt=st.binary(min_size=1, max_size=64), info=st.binary(max_size=100))
def test_extract_then_expand_is_hkdf(root: bytes, salt: bytes, info: bytes) -> None:
    ours = ciphers.expand(ciphers.extract(salt, root), info)
    assert ours == HKDF(SHA256(), 32, salt, info).derive(root)


def test_expanding_one_block_is_hkdf_expand() -> None:
    assert ciphers.expand(ciphers.mac_state(KEY), b"info") == HKDFExpand(SHA256(), 32, b"info").derive(KEY)


def test_extract_gives_the_first_vector_of_rfc_5869() -> None:
    state = ciphers.extract(bytes(range(13)), b"\x0b" * 22)
    okm = ciphers.expand(state, bytes(range(0xF0, 0xFA)))
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_a_state_serves_eight_threads_at_once() -> None:
    state = ciphers.mac_state(KEY)
    messages = [str(number).encode() for number in range(2000)]
    with ThreadPoolExecutor(8) as pool:
        tags = list(pool.map(lambda message: ciphers.tag(state, message), messages))
    assert tags == [hmac.digest(KEY, message, "sha256") for message in messages]
