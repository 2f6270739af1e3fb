"""Every page of the admin in a browser, with odd rows, on two widths.

A page shows no object of Python, fits into the window, is small, and logs no error.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from selenium.webdriver.common.by import By

from tests.support.admin_pages import FLAGS, SEGMENTS, VALUES
from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import OVERFLOW

PREFIXES = {"flag": FLAGS, "value": VALUES, "segment": SEGMENTS}
WIDTHS = (1400, 400)
MAX_BYTES = 500_000
OK = 200
# Rows that have broken a page, or could; the worst first.
LONG = "checkout_payment_retry_policy_" * 8
ODD_KEYS = {
    "flag": [f"flag_{LONG}", "<b>bold</b>", "new_checkout", "summer_banner"],
    "value": [f"value_{LONG}", "megabyte", "secret", "a/b?c#<i>"],
    "segment": [f"segment_{LONG}", "odd"],
}
ODD_FLAGS = f"""
    INSERT INTO flagstaff_featureflag (key, description, rollout_percent) VALUES
        ('flag_{LONG}', repeat('x', 3000), 50),
        ('<b>bold</b>', E'<script>alert(1)</script>\\ntwo 🚩', 1)
"""
MANY_USERS = """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT flag.id, person.id FROM flagstaff_featureflag AS flag, auth_user AS person
    WHERE flag.key = '<b>bold</b>'
"""
ODD_VALUES = f"""
    INSERT INTO flagstaff_keyvaluestore (key, value, secret, description) VALUES
        ('value_{LONG}', to_jsonb(repeat('x', 3000)), false, repeat('x', 3000)),
        ('a/b?c#<i>', '"<script>alert(1)</script>"', false, ''),
        ('megabyte', jsonb_build_object('text', repeat('"', 500000)), false, ''),
        ('secret', '"hidden"', true, '')
"""
ODD_SEGMENTS = f"""
    INSERT INTO flagstaff_segment (key, description, conditions) VALUES
        ('segment_{LONG}', repeat('x', 3000), jsonb_build_array(jsonb_build_object(
            'attribute', repeat('a', 100), 'operator', 'in',
            'values', to_jsonb(array_fill(repeat('v', 1000), ARRAY[30]))))),
        ('odd', '', '{{"x": "<b>"}}')
"""
# Rules with long texts, rules of another form, and rules that are too large for a form.
ODD_RULES = (
    f"""
    UPDATE flagstaff_featureflag SET rules = jsonb_build_array(jsonb_build_object(
        'name', repeat('n', 100), 'conditions', jsonb_build_array(
            jsonb_build_object('segment', 'segment_{LONG}'),
            jsonb_build_object('attribute', repeat('a', 100), 'operator', 'in',
                'values', to_jsonb(array_fill(repeat('v', 1000), ARRAY[30]))))))
    WHERE key = 'flag_{LONG}'
    """,
    """
    UPDATE flagstaff_featureflag SET rules = '{"x": "<b>"}' WHERE key = '<b>bold</b>'
    """,
    """
    UPDATE flagstaff_featureflag SET rules = jsonb_build_array(jsonb_build_object(
        'conditions', jsonb_build_array(jsonb_build_object('attribute', 'a', 'operator', 'in',
            'values', to_jsonb(array_fill(repeat('v', 1000), ARRAY[200]))))))
    WHERE key = 'summer_banner'
    """,
    # Owners and tags as long as they can be, and tags of another form.
    f"""
    UPDATE flagstaff_featureflag SET owner = repeat('o', 100), review_on = '2027-03-01',
        tags = (SELECT jsonb_agg(repeat(chr(96 + n), 50)) FROM generate_series(1, 20) AS n)
    WHERE key = 'flag_{LONG}'
    """,
    """
    UPDATE flagstaff_featureflag SET owner = '<b>', tags = '{"x": "<b>"}' WHERE key = '<b>bold</b>'
    """,
)
# Each statement is a transaction, so that the history has something to undo and to restore.
EVENTS = (
    "UPDATE flagstaff_featureflag SET enabled = true",
    """
    SELECT set_config('flagstaff.actor', repeat('a', 300), false),
        set_config('flagstaff.reason', repeat('r', 500), false);
    UPDATE flagstaff_featureflag SET enabled = false, description = repeat('y', 3000)
    """,
    "UPDATE flagstaff_keyvaluestore SET description = 'changed'",
    "UPDATE flagstaff_segment SET description = 'changed'",
    f"UPDATE flagstaff_keyvaluestore SET value = '1' WHERE key = 'value_{LONG}'",
    """
    UPDATE flagstaff_keyvaluestore SET value = jsonb_set(value, '{more}', '1')
        WHERE key = 'megabyte';
    UPDATE flagstaff_featureflag SET rollout_percent = 2 WHERE key = '<b>bold</b>'
    """,
)
MEASURES = """
    const [page] = performance.getEntriesByType('navigation');
    const object = /object at 0x|&lt;[\\w.]+ object|&lt;(function|class)\\b|DatabaseDefault/;
    const match = document.documentElement.outerHTML.match(object);
    return [page.responseStatus, page.decodedBodySize, match && match[0]];
"""


PAGES = {
    "list": "",
    "add": "add/",
    "change": "{}/change/",
    "delete": "{}/delete/",
    "history": "{}/history/",
}


class Admin(NamedTuple):
    """The browser of a superuser, and the primary keys of the rows."""

    visitor: Visitor
    pks: dict[str, dict[str, int]]

    def paths(self, kind: str, page: str) -> list[str]:
        """Returns the URLs of a page: one, or one for each odd row."""
        path = PREFIXES[kind] + PAGES[page]
        return list(dict.fromkeys(path.format(pk) for pk in self.pks[kind].values()))

    def press(self, xpath: str) -> None:
        """Clicks the first matching button; some are outside the window."""
        button = self.visitor.driver.find_element(By.XPATH, xpath)
        with self.visitor.leaving_page():
            self.visitor.driver.execute_script("arguments[0].click()", button)

    def assert_sound(self, shown: str) -> None:
        """Checks the open page."""
        status, size, python_object = self.visitor.driver.execute_script(MEASURES)
        assert (shown, status) == (shown, OK)
        assert size < MAX_BYTES, shown
        assert python_object is None, shown
        assert self.visitor.console_errors() == [], shown
        for width in WIDTHS:
            self.visitor.set_width(width)
            assert self.visitor.driver.execute_script(OVERFLOW) == [], (shown, width)


@pytest.fixture(scope="module")
def pks(shop: Shop) -> dict[str, dict[str, int]]:
    """The primary keys of the rows by kind and key, after the rows were written."""
    odd_rows = (ODD_FLAGS, MANY_USERS, ODD_VALUES, ODD_SEGMENTS, *ODD_RULES)
    for statement in (*odd_rows, *EVENTS):
        shop.query(statement)
    flags = shop.query("SELECT key, id FROM flagstaff_featureflag")
    values = shop.query("SELECT key, id FROM flagstaff_keyvaluestore")
    segments = shop.query("SELECT key, id FROM flagstaff_segment")
    pks_by_kind = {"flag": dict(flags), "value": dict(values), "segment": dict(segments)}
    return {kind: {key: pks_by_kind[kind][key] for key in keys} for kind, keys in ODD_KEYS.items()}


@pytest.fixture(scope="module")
def admin(logged_in: Visitor, pks: dict[str, dict[str, int]]) -> Iterator[Admin]:
    logged_in.console_errors()
    yield Admin(logged_in, pks)
    logged_in.reset_width()


@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize("page", PAGES)
def test_page_is_sound(admin: Admin, kind: str, page: str) -> None:
    for path in admin.paths(kind, page):
        admin.visitor.visit(path)
        admin.assert_sound(path)


def follow_in_history(admin: Admin, name: str, kind: str, key: str) -> None:
    admin.visitor.visit(f"{PREFIXES[kind]}{admin.pks[kind][key]}/history/")
    admin.press(f"//a[contains(@href, '?{name}=')]")


def confirm_on(admin: Admin, key: str) -> None:
    admin.visitor.visit(FLAGS)
    admin.press(f"//a[@aria-label='Turn on… {key}']")


def confirm_delete(admin: Admin, kind: str, action: str) -> None:
    admin.visitor.visit(PREFIXES[kind])
    with admin.visitor.leaving_page():
        admin.visitor.driver.execute_script(
            "document.querySelector('#action-toggle').click();"
            f"document.querySelector('select[name=action]').value = '{action}';"
            "document.querySelector('#changelist-form').submit()"
        )


def leave_empty(admin: Admin, kind: str) -> None:
    admin.visitor.visit(f"{PREFIXES[kind]}add/")
    admin.visitor.follow(".flagstaff-confirm")


def save_conditions(admin: Admin, key: str) -> None:
    admin.visitor.visit(f"{SEGMENTS}{admin.pks['segment'][key]}/conditions/")
    admin.visitor.follow(".flagstaff-confirm")


QUESTIONS: dict[str, Callable[[Admin], None]] = {
    "on": lambda admin: confirm_on(admin, "new_checkout"),
    "on long key": lambda admin: confirm_on(admin, f"flag_{LONG}"),
    "restore flag": lambda admin: follow_in_history(admin, "restore", "flag", f"flag_{LONG}"),
    "restore segment": lambda admin: follow_in_history(
        admin, "restore", "segment", f"segment_{LONG}"
    ),
    "restore value": lambda admin: follow_in_history(admin, "restore", "value", "megabyte"),
    "transaction of flag": lambda admin: follow_in_history(
        admin, "transaction", "flag", f"flag_{LONG}"
    ),
    "transaction of value": lambda admin: follow_in_history(
        admin, "transaction", "value", "megabyte"
    ),
    "delete flags": lambda admin: confirm_delete(admin, "flag", "delete"),
    "conditions of a segment": lambda admin: save_conditions(admin, f"segment_{LONG}"),
    "errors of a flag": lambda admin: leave_empty(admin, "flag"),
    "errors of a value": lambda admin: leave_empty(admin, "value"),
    "errors of a segment": lambda admin: leave_empty(admin, "segment"),
}


@pytest.mark.parametrize("page", QUESTIONS)
def test_page_after_a_button_is_sound(admin: Admin, page: str) -> None:
    QUESTIONS[page](admin)
    admin.assert_sound(page)
