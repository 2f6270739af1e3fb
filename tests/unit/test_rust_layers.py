"""The modules of the Rust crate import each other in one direction only."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent.parent / "src"

# From the bottom up: a module may import those of its own row, as long as no cycle arises, and
# those of the rows above it. A folder stands for all modules in it.
LAYERS = (
    ("message", "boot_time"),
    ("bucket", "subject", "stored_value", "token_set", "counters"),
    ("user_set", "primary_key", "watch", "allocation"),
    ("groups", "observation"),
    ("rules",),
    ("row", "bucketing_unit"),
    ("last_good", "row_rules", "declared"),
    ("targeting",),
    ("flag", "experiment"),
    ("evaluate", "snapshot", "overrides", "value_rules"),
    ("usage", "watch_registry", "assign", "exposures", "prerequisites"),
    ("steps",),
    ("live",),
    ("postgres::texts",),
    ("postgres::error", "postgres::random", "postgres::suspension", "postgres::tables"),
    ("postgres::change_signal", "postgres::inherited"),
    (
        "postgres::deadline",
        "postgres::queries",
        "postgres::signals",
        "postgres::status",
        "postgres::threads",
    ),
    ("postgres::connect",),
    ("postgres::context",),
    ("postgres::refresh", "postgres::reports"),
    ("postgres::engine",),
    ("python",),
)
# At the start of a line: the texts of messages have the word, too.
USE = re.compile(r"^\s*(?:pub(?:\(\w+\))? )?use ([^;]+);", re.MULTILINE)


# Every module of the crate by its path, such as `postgres::connect::tls`.
MODULES = {
    "::".join(path.relative_to(SRC).with_suffix("").parts): path
    for path in SRC.rglob("*.rs")
    if path.name != "lib.rs"
}


def leaves(tree: str) -> Iterator[str]:
    """The paths of a `use` tree: `a::{b, c::d}` → `a::b`, `a::c::d`."""
    head, brace, rest = tree.partition("{")
    if not brace:
        yield re.sub(r"\s+as\s+\w+$", "", tree.strip()).removesuffix("::self")
        return
    inner, depth, start = rest[: rest.rindex("}")], 0, 0
    for end, letter in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            if inner[start:end].strip():
                yield from leaves(head.strip() + inner[start:end].strip())
            start = end + 1


def target_of(path: str, module: str) -> str | None:
    """The module that a path in a module leads into; None for the root, or another crate."""
    first, _, rest = path.partition("::")
    if first == "self":
        rest = f"{module}::{rest}"
    elif first == "super":
        parts = module.split("::")
        while first == "super":
            parts, (first, _, rest) = parts[:-1], rest.partition("::")
        rest = "::".join([*parts, first, rest]).strip(":")
    elif first != "crate":
        return None
    while rest and rest not in MODULES:
        rest = rest.rpartition("::")[0]
    return rest or None


def imports(module: str) -> set[str]:
    """The modules that `module` names in a `use` or in a path."""
    text = MODULES[module].read_text()
    # Without comments and unit tests.
    source = re.sub(r"//.*", "", text.split("#[cfg(test)]\nmod tests", maxsplit=1)[0])
    # What the macro of the extension module exports stands one level deeper.
    source = source.replace("    use super::", "    use self::") if module == "python" else source
    named = [leaf for tree in re.findall(USE, source) for leaf in leaves(tree)]
    named += re.findall(r"\b(?:crate|self|super)(?:::\w+)+", re.sub(USE, "", source))
    return {target for path in named if (target := target_of(path, module))} - {module}


GRAPH = {module: imports(module) for module in MODULES}


def layer(module: str) -> int:
    """The row of `LAYERS` that a module belongs to."""
    [row] = [
        number
        for number, names in enumerate(LAYERS)
        if any(module == name or module.startswith(f"{name}::") for name in names)
    ]
    return row


def test_imports_of_the_crate_are_found() -> None:
    assert {"bucket", "flag", "subject"} <= GRAPH["evaluate"]
    assert "postgres::connect::tls::roots" in GRAPH["postgres::connect::tls::verifier"]
    assert "postgres::error::tls" in GRAPH["postgres::error"]
    assert "python::lifecycle" in GRAPH["python"]


def test_imports_form_no_cycle() -> None:
    left = dict(GRAPH)
    while free := {module for module, needed in left.items() if not needed & left.keys()}:
        left = {module: needed for module, needed in left.items() if module not in free}
    assert left == {}, "these modules import each other"


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"postgres"}))
def test_module_imports_lower_layers_only(module: str) -> None:
    assert {target for target in GRAPH[module] if layer(target) > layer(module)} == set()


@pytest.mark.parametrize("layer", ["refresh", "reports"])
def test_refresh_and_reports_are_independent(layer: str) -> None:
    other = "reports" if layer == "refresh" else "refresh"
    reached = {t for m in MODULES if m.startswith(f"postgres::{layer}") for t in GRAPH[m]}
    assert not [target for target in reached if target.startswith(f"postgres::{other}")]


def test_every_layer_exists() -> None:
    assert [name for row in LAYERS for name in row if name not in MODULES] == []
