"""Parsing of session names, which any client may set to any text."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from flagstaff._workers.sessions import Worker, parse_name

anything = st.text(max_size=63)
nearly = st.from_regex(
    r"\Afs[12] ([0-9]{1,11} )?[-+ 0-9]{1,20} [0-9a-fA-F]{7,9} [A-Z] [0-9]{1,12}"
    r"( r[0-9]{0,4})?( .{0,9})?\Z"
)


@given(anything | nearly)
@example("fs1 9999999999999999999 00000000 L 1 web-1")
def test_any_name_is_parsed_without_an_error(name: str) -> None:
    found = parse_name(name, 7)
    assert found.session == 7
    if found.pid is None:
        assert found == Worker(name, None, "unreadable", 0, "", 7, None)
        assert str(found) == f"{name!r} (session 7)"
    # Within bigint, because the database rejects a query for more.
    assert 0 <= found.token < 2**63


@given(
    st.sampled_from(["fs1", "fs2 0", "fs2 16404", "fs2 4294967295"]),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1)),
    st.sampled_from(["S", "L", "P", "R"]),
    st.integers(1, 2**31 - 1),
    st.sampled_from([("", 0), ("r1 ", 1), ("r12 ", 12)]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)
def test_workers_name_is_parsed_back(  # noqa: PLR0913, PLR0917 (all parts of a name)
    start: str,
    newest: tuple[int, int],
    mode: str,
    pid: int,
    rule_format: tuple[str, int],
    host: str,
) -> None:
    token, nonce = newest
    text, number = rule_format
    found = parse_name(f"{start} {token} {nonce:08x} {mode} {pid} {text}{host}", 7)
    assert (found.token, found.nonce, found.pid, found.host) == (token, f"{nonce:08x}", pid, host)
    assert found.mode[0].upper() == ("R" if mode == "R" else mode)
    assert found.rule_format == number
