"""The page of allowed users, and "Who has it?", on a phone without scripts."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import assert_fits

NAMES = ".flagstaff-users li label"
LONG = "x" * 150
CLEAR = """
    DELETE FROM flagstaff_featureflag_allowed_users WHERE featureflag_id =
        (SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout')
"""
ALLOW = """
    INSERT INTO flagstaff_featureflag_allowed_users (featureflag_id, user_id)
    SELECT flag.id, person.id FROM flagstaff_featureflag AS flag, auth_user AS person
    WHERE flag.key = 'new_checkout' AND {}
"""
LONG_USER = f"""
    INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
        last_name, email, date_joined)
    VALUES ('{LONG}', '', false, false, true, '', '', '', now()) ON CONFLICT DO NOTHING
"""
ALLOWED = f"""
    SELECT username FROM auth_user AS person
    JOIN flagstaff_featureflag_allowed_users AS link ON link.user_id = person.id
    JOIN flagstaff_featureflag AS flag ON flag.id = link.featureflag_id
    WHERE flag.key = 'new_checkout' AND username <> '{LONG}' ORDER BY username
"""


@pytest.fixture(autouse=True)
def allowed_users(visitor: Visitor, shop: Shop) -> Iterator[None]:
    """Alice and a user with a long name are allowed."""
    for statement in (CLEAR, LONG_USER, ALLOW.format(f"username IN ('alice', '{LONG}')")):
        shop.query(statement)
    yield
    shop.query(CLEAR)
    shop.query(f"DELETE FROM auth_user WHERE username = '{LONG}'")
    shop.query(ALLOW.format("username = 'alice'"))


def test_users_are_added_and_removed(plain_phone: Visitor, shop: Shop) -> None:
    visitor = plain_phone
    visitor.visit(shop.page_of())
    visitor.press("#content a[href$='/allowed-users/']")
    assert visitor.text("h1") == "Allowed users of new_checkout"
    assert "alice" in visitor.texts(NAMES)
    # The long name breaks.
    assert_fits(visitor)
    rows = visitor.driver.find_elements(By.CSS_SELECTOR, ".flagstaff-users :is(li, button)")
    assert [row.rect["height"] for row in rows if row.rect["height"] < 44] == []
    visitor.press("#content a[href*='/allow/']")
    visitor.write("#id_users", "bob, alcie\ncarol")
    visitor.press(".flagstaff-confirm")
    assert "Did you mean “alice”?" in visitor.text(".errorlist")
    assert_fits(visitor)
    visitor.write("#id_users", "bob\ncarol")
    visitor.press(".flagstaff-confirm")
    assert [name for (name,) in shop.query(ALLOWED)] == ["alice", "bob", "carol"]
    visitor.visit(f"{shop.page_of(view='allowed-users')}?q=ALI")
    assert visitor.texts(NAMES) == ["alice"]
    visitor.click(".flagstaff-users li input")
    visitor.press(".flagstaff-remove")
    visitor.press(".flagstaff-confirm")
    assert [name for (name,) in shop.query(ALLOWED)] == ["bob", "carol"]
    assert "No allowed user matches." in visitor.text("#content")
    assert_fits(visitor)


def test_flag_is_evaluated_for_a_user(plain_phone: Visitor, shop: Shop) -> None:
    visitor = plain_phone
    visitor.visit(shop.page_of())
    visitor.write("#id_user", "alice")
    with visitor.leaving_page():
        visitor.find("#id_user").send_keys(Keys.ENTER)
    assert visitor.driver.current_url.endswith("?user=alice&context=#who-has-it")
    assert visitor.text(".flagstaff-decides .flagstaff-why").startswith("✓ yes, decides")
    assert visitor.text(".flagstaff-decides th").startswith("Allowed users")
    assert "✓ yes, decides" in visitor.text(".flagstaff-decides")
    assert_fits(visitor)
