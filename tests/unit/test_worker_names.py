"""Parsing of session names, which any client may set to any text."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from flagstaff._workers.sessions import Worker, parse_name

anything = st.text(max_size=63)
nearly = st.from_regex(
    r"\Afs[12] ([0-9]{1,11} )?[-+ 0-9]{1,20} [0-9a-fA-F]{7,9} [A-Z] [0-9]{1,12}( .{0,9})?\Z"
)


@given(anything | nearly)
@example("fs1 9999999999999999999 00000000 L 1 web-1")
def test_any_name_is_parsed_without_an_error(name: str) -> None:
    found = parse_name(name, 7)
    assert found.session == 7
    if found.pid is None:
        assert found == Worker(name, None, "unreadable", 0, "", 7)
        assert str(found) == f"{name!r} (session 7)"
    # Within bigint, because the database rejects a query for more.
    assert 0 <= found.token < 2**63


@given(
    st.sampled_from(["fs1", "fs2 0", "fs2 16404", "fs2 4294967295"]),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**32 - 1)),
    st.sampled_from(["S", "L", "P", "R"]),
    st.integers(1, 2**31 - 1),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
)
def test_workers_name_is_parsed_back(
    start: str, newest: tuple[int, int], mode: str, pid: int, host: str
) -> None:
    token, nonce = newest
    found = parse_name(f"{start} {token} {nonce:08x} {mode} {pid} {host}", 7)
    assert (found.token, found.nonce, found.pid, found.host) == (token, f"{nonce:08x}", pid, host)
    assert found.mode[0].upper() == ("R" if mode == "R" else mode)
