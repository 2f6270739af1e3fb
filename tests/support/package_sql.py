"""The statements of the package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import flagstaff
from tests.support.python_processes import ROOT

PACKAGE = Path(flagstaff.__path__[0])
# They define or prepare something, or are for another program to run.
NOT_QUERIES = {
    *("barrier_function_v1", "drop_tables_v1", "drop_triggers_v1"),
    "echo_table_v1",
    *("function_hashes_v1", "group_function_v1"),
    *("history_functions_v1", "history_indexes_v1"),
    *("history_v1", "load_lock_v1"),
    *("token_functions_v1", "token_trigger_v1"),
    *("tokens_v1", "history_triggers_v1", "usage_v1"),
    *("webhooks_v1", "reports_v1", "workers_table_v1", "worker_function_v1"),
    # The beginning of the flushes.
    "accept_flush_v1",
}
_SQL = re.compile(r"\s*(?:SELECT|WITH|INSERT|UPDATE|DELETE)\s")


def statements() -> Iterator[tuple[str, str]]:
    """The name and the template of each statement of the package."""
    files = [*(PACKAGE / "sql").glob("*.sql")]
    for file in sorted(files):
        if file.stem not in NOT_QUERIES:
            yield file.stem, file.read_text()
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in _strings(ast.parse(file.read_text())):
            text = _text(node)
            if _SQL.match(text) and " " in text.strip():
                yield f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}", text
    role = (ROOT / "src" / "postgres" / "connect" / "role.rs").read_text()
    [query] = re.findall(r'QUERY: &str = "(.*?)";', role, re.DOTALL)
    yield "role.rs", query.replace("\\\n", "")


def _strings(node: ast.AST) -> Iterator[ast.AST]:
    """All strings, without the parts of those with expressions."""
    if isinstance(node, ast.JoinedStr | ast.Constant):
        yield node
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)


def _text(node: ast.AST) -> str:
    """The text of a string, with a table in place of each expression; "" for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) or "flagstaff_token" for value in node.values)
    return ""
