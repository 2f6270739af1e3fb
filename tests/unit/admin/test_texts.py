"""Texts that the admin reads: addresses in them, and misspelt keys."""

import pytest

from flagstaff.admin.changes.events import with_links
from flagstaff.admin.pages.cleanup import similar_key


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
        (
            '<b>https://a.example/"onclick=1',
            f"&lt;b&gt;{link('https://a.example/')}&quot;onclick=1",
        ),
        *((text, text) for text in ("", "ticket 7", "https://", "javascript:alert(1)")),
        *((text, text) for text in ("tickets.example.com", f"{TICKET}… (9 more)")),
    ],
)
def test_only_address_is_a_link_and_markup_is_escaped(text: str, html: str) -> None:
    assert with_links(text) == html


KNOWN = ["new_checkout", "dark_mode", "search_v2", "ab"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("new_chekout", "new_checkout"),
        ("new-checkout", "new_checkout"),
        ("NEW_CHECKOUT", "new_checkout"),
        ("newcheckout", "new_checkout"),
        ("dakr_mode", "dark_mode"),
        ("search_v3", "search_v2"),
        *((other, None) for other in ("", "banner", "new_", "(other keys)")),
    ],
)
def test_misspelt_key_finds_the_flag_and_other_key_none(key: str, meant: str | None) -> None:
    assert similar_key(key, KNOWN) == meant
    assert similar_key(key, []) is None
