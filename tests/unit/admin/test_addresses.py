from __future__ import annotations

import pytest

from flagstaff.admin.addresses import with_links


def link(address: str) -> str:
    return f'<a href="{address}" rel="noreferrer">{address}</a>'


TICKET = "https://tickets.example.com/OPS-7"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (TICKET, link(TICKET)),
        (f"see {TICKET}.", f"see {link(TICKET)}."),
        (f"({TICKET}), then", f"({link(TICKET)}), then"),
        (f"{TICKET} {TICKET}", f"{link(TICKET)} {link(TICKET)}"),
        ("http://wiki/a?b=1&c=2", link("http://wiki/a?b=1&amp;c=2")),
    ],
)
def test_address_is_a_link(text: str, html: str) -> None:
    assert with_links(text) == html


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ticket 7",
        "https://",
        "javascript:alert(1)",
        "tickets.example.com",
        f"{TICKET}… (9 more)",
    ],
)
def test_other_text_is_no_link(text: str) -> None:
    assert with_links(text) == text


def test_markup_is_escaped() -> None:
    assert with_links('<b>https://a.example/"onclick=1') == (
        f"&lt;b&gt;{link('https://a.example/')}&quot;onclick=1"
    )
