"""The normative page names every reason that the code can give, and its vector is the tested one."""

import re
from pathlib import Path

import secure_queue.payload
from tests.unit.payload.samples import VECTOR
from tests.unit.payload.test_suites import VECTORS

PAGE = (Path(__file__).parents[3] / "docs" / "payload-format.md").read_text()
SOURCES = "".join(path.read_text() for path in Path(secure_queue.payload.__file__).parent.glob("*.py"))


def test_every_reason_word_of_the_code_is_on_the_page() -> None:
    words = set(re.findall(r'Rejected\("([a-z-]+)"', SOURCES))
    words |= set(
        re.findall(r'return "([a-z]+(?:-[a-z]+)+)"', SOURCES.split("def _why_not_an_envelope")[1].split("def ")[0])
    )
    assert len(words) > 20
    documented = set(re.findall(r"^\| \d+ \| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert words <= documented


def test_the_vectors_on_the_page_are_the_tested_ones() -> None:
    block = PAGE.split("## Test vectors")[1].split("```")[1]
    printed = re.split(r"^(\d\d)  ", block, flags=re.MULTILINE)[1:]
    vectors = {int(suite): "".join(text.split()) for suite, text in zip(printed[::2], printed[1::2], strict=True)}
    assert vectors == VECTORS
    assert bytes.fromhex(vectors[1]) == VECTOR


def test_every_extension_code_of_the_code_is_on_the_page() -> None:
    from secure_queue.payload.extensions import LEAF_DECODERS, NESTING_CODES

    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE.split("### 01 msgpack")[1], re.MULTILINE)
    documented = {int(code) for row in rows for code in row.split(",")}
    assert documented == set(LEAF_DECODERS) | NESTING_CODES
