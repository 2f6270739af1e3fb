"""The editor of rules in a browser: with and without a script, by keyboard, and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.support.select import Select

from tests.system.browser.conftest import Shop, Visitor
from tests.system.browser.layout import enable_scripts

FLAGS, SEGMENTS = "/admin/flagstaff/featureflag/", "/admin/flagstaff/segment/"
VALUES = "/admin/flagstaff/keyvaluestore/"
COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", "AT"]}
STAFF = {"attribute": "is_staff", "operator": "in", "values": [True]}
RULES: list[dict[str, Any]] = [
    {"name": "beta", "conditions": [COUNTRY], "rollout_percent": 25},
    {"name": "team", "conditions": [STAFF]},
]
STORED = "SELECT rules FROM flagstaff_featureflag WHERE key = 'new_checkout'"
HAS_PAINTED = "return performance.getEntriesByType('paint').length > 0"
CUSTOMERS = [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]


@pytest.fixture(params=[True, False], ids=["script", "no script"])
def script(request: pytest.FixtureRequest, visitor: Visitor) -> Iterator[bool]:
    """With and without JavaScript."""
    if request.param:
        enable_scripts(visitor)
    else:
        visitor.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    yield request.param
    enable_scripts(visitor)


@pytest.fixture
def flag(visitor: Visitor, shop: Shop) -> Iterator[str]:
    """The path of a flag with two rules."""
    # A save of a flag that is on would be confirmed.
    write(shop, RULES)
    shop.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'new_checkout'")
    [[pk]] = shop.query("SELECT id FROM flagstaff_featureflag WHERE key = 'new_checkout'")
    yield f"{FLAGS}{pk}/change/"
    write(shop, [])


def write(shop: Shop, rules: list[Any]) -> None:
    shop.query(
        f"UPDATE flagstaff_featureflag SET rules = '{json.dumps(rules)}' WHERE key = 'new_checkout'"
    )


def stored(shop: Shop) -> Any:
    [[rules]] = shop.query(STORED)
    return rules


def open_page(visitor: Visitor, path: str) -> None:
    """Opens a page, and waits until its number of users has arrived, which moves the rows.

    The browser drops keys that it gets before it has painted the page.
    """
    visitor.visit(path)
    visitor.wait_until(lambda: visitor.texts("[aria-busy=true]"), [])
    visitor.wait_until(lambda: visitor.driver.execute_script(HAS_PAINTED), expected=True)


def choose(visitor: Visitor, selector: str, text: str) -> None:
    """Chooses an option. Typing its text would be too slow on a busy machine."""
    visitor.when_interactable(lambda: Select(visitor.find(selector)).select_by_visible_text(text))


def press(visitor: Visitor, button: str, *, script: bool = True) -> None:
    """Presses a button of the editor; without a script, another page follows."""
    selector = f"[name=_rule_edit][value^='{button}']"
    if script:
        visitor.click(selector)
    else:
        visitor.follow(selector)


def save(visitor: Visitor) -> None:
    visitor.follow(".submit-row [name=_save]")
    visitor.wait_for_text(".messagelist", "new_checkout")


def names(visitor: Visitor) -> list[str]:
    found = visitor.driver.execute_script(
        "return [...document.querySelectorAll('.flagstaff-rule-name input')].map(e => e.value)"
    )
    return list(found)


def focused(visitor: Visitor) -> Any:
    return visitor.driver.switch_to.active_element.get_attribute("name")


def labels(visitor: Visitor, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.ariaLabel)"
    return list(visitor.driver.execute_script(script, selector))


def test_rule_is_added_with_the_focus_filled_in_and_saved(
    script: bool, flag: str, visitor: Visitor, shop: Shop
) -> None:
    open_page(visitor, flag)
    press(visitor, "add-rule", script=script)
    focused = visitor.driver.switch_to.active_element
    assert focused.accessible_name == "Rule 3, condition 1: attribute"
    press(visitor, "add-segment:n1" if script else "add-segment:2", script=script)
    rule = ".flagstaff-rule:nth-child(3)"
    visitor.write(f"{rule} .flagstaff-rule-name input", "new")
    visitor.write(f"{rule} .flagstaff-attribute", "seats")
    choose(visitor, f"{rule} .flagstaff-operator", "is at least")
    visitor.write(f"{rule} .flagstaff-values", "100")
    choose(visitor, f"{rule} .flagstaff-condition:nth-child(2) select", "customers")
    save(visitor)
    seats = {"attribute": "seats", "operator": "gte", "values": [100]}
    assert stored(shop) == [
        *RULES,
        {"name": "new", "conditions": [seats, {"segment": "customers"}]},
    ]


def test_rules_are_moved_and_removed(flag: str, visitor: Visitor, shop: Shop) -> None:
    open_page(visitor, flag)
    press(visitor, "up:1")
    assert names(visitor) == ["team", "beta"]
    press(visitor, "add-condition:1")
    first = ".flagstaff-rule:first-child"
    assert labels(visitor, f"{first} .flagstaff-attribute") == [
        "Rule 1, condition 1: attribute",
        "Rule 1, condition 2: attribute",
    ]
    press(visitor, "remove:1-n1")
    press(visitor, "remove:0")
    assert visitor.texts(".flagstaff-rule-number") == ["Rule 1"]
    save(visitor)
    assert stored(shop) == RULES[1:]


def test_enter_in_an_input_presses_save(flag: str, visitor: Visitor) -> None:
    """Enter presses the first button that submits the form."""
    visitor.visit(flag)
    first = visitor.find("#featureflag_form [type=submit]:not(:disabled)")
    assert first.get_attribute("name") == "_save"


def test_typed_rows_become_json_and_rows_again_and_stay_after_an_error(
    flag: str, visitor: Visitor, shop: Shop
) -> None:
    open_page(visitor, flag)
    visitor.write(".flagstaff-rule-name input", "typed")
    visitor.follow("[name=_rule_edit][value=json]")
    assert '"name": "typed"' in str(visitor.find("#id_rules").get_property("value"))
    visitor.follow("[name=_rule_edit][value=rows]")
    assert names(visitor) == ["typed", "team"]
    press(visitor, "add-rule")
    visitor.write(".flagstaff-rule:nth-child(3) .flagstaff-values", "1, 2")
    visitor.follow(".submit-row [name=_save]")
    assert visitor.texts(".flagstaff-row-problem") == ["Write the name of an attribute."]
    field = visitor.find(".flagstaff-rule:nth-child(3) .flagstaff-values")
    assert field.get_property("value") == "1, 2"
    assert stored(shop) == RULES


def test_pasted_lines_are_values(flag: str, visitor: Visitor, shop: Shop) -> None:
    open_page(visitor, flag)
    visitor.write(".flagstaff-values", "DE\nAT\nCH")
    save(visitor)
    assert stored(shop)[0]["conditions"] == [{**COUNTRY, "values": ["DE", "AT", "CH"]}]


def test_operator_without_values_hides_them(flag: str, visitor: Visitor) -> None:
    open_page(visitor, flag)
    values = visitor.find(".flagstaff-values")
    visitor.wait_until(values.is_displayed, expected=True)
    choose(visitor, ".flagstaff-operator", "is missing")
    visitor.wait_until(values.is_displayed, expected=False)


def test_values_become_a_choice_while_the_attribute_is_a_bool(
    flag: str, visitor: Visitor, shop: Shop
) -> None:
    open_page(visitor, flag)
    visitor.write(".flagstaff-attribute", "is_superuser")
    visitor.find(".flagstaff-rule-name input").click()
    choose(visitor, "select.flagstaff-values", "yes")
    save(visitor)
    assert stored(shop)[0]["conditions"] == [{**STAFF, "attribute": "is_superuser"}]


def test_row_is_marked_while_it_is_edited(flag: str, visitor: Visitor) -> None:
    open_page(visitor, flag)
    visitor.write(".flagstaff-attribute", "is_staf")
    visitor.wait_for_text(".flagstaff-mark", "did you mean “is_staff”?")


def test_row_of_a_new_flag_is_marked_while_it_is_edited(visitor: Visitor) -> None:
    open_page(visitor, f"{FLAGS}add/")
    visitor.click("fieldset:has(.flagstaff-rule-editor) > details > summary")
    press(visitor, "add-rule")
    visitor.write(".flagstaff-attribute", "is_staf")
    visitor.wait_for_text(".flagstaff-mark", "did you mean “is_staff”?")


@pytest.mark.parametrize(
    ("button", "condition"),
    [
        ("add-rule:segment", {"segment": "customers"}),
        (
            "add-rule:attribute=groups",
            {"attribute": "groups", "operator": "in", "values": ["beta"]},
        ),
    ],
)
def test_rule_begins_with_what_was_chosen(  # noqa: PLR0913, PLR0917 (fixtures)
    button: str,
    condition: dict[str, Any],
    script: bool,
    flag: str,
    visitor: Visitor,
    shop: Shop,
) -> None:
    shop.query("INSERT INTO auth_group (name) VALUES ('beta') ON CONFLICT DO NOTHING")
    open_page(visitor, flag)
    press(visitor, button, script=script)
    rule = ".flagstaff-rule:nth-child(3)"
    if "segment" in condition:
        choose(visitor, f"{rule} .flagstaff-segment", "customers")
    else:
        assert visitor.driver.switch_to.active_element.tag_name == "textarea"
        visitor.click(f"{rule} .flagstaff-samples summary")
        press(visitor, f"add-value:{'n1-n1' if script else '2-0'}:beta", script=script)
    save(visitor)
    assert stored(shop) == [*RULES, {"conditions": [condition]}]


def test_buttons_stop_at_the_most_rows_of_a_form(flag: str, visitor: Visitor, shop: Shop) -> None:
    write(shop, [{"conditions": [COUNTRY]}] * 59)
    open_page(visitor, flag)
    visitor.click("[value=add-rule]")
    assert not visitor.find("[value=add-rule]").is_enabled()
    remove = ".flagstaff-rule:nth-child(60) .flagstaff-rule-head [value^='remove:']"
    visitor.driver.execute_script("arguments[0].click()", visitor.find(remove))
    assert visitor.find("[value=add-rule]").is_enabled()


def test_conditions_of_a_segment_are_edited(visitor: Visitor, shop: Shop) -> None:
    [[pk]] = shop.query("SELECT id FROM flagstaff_segment WHERE key = 'customers'")
    try:
        open_page(visitor, f"{SEGMENTS}{pk}/conditions/")
        visitor.click("[name=_edit][value='attribute:0']")
        visitor.wait_until(lambda: focused(visitor), "conditions-0-1-attribute")
        visitor.write("[name=conditions-0-1-attribute]", "plan")
        visitor.write("[name=conditions-0-1-values]", "paid")
        # The script shows what it would change, so that one button confirms it.
        visitor.wait_for_text(".flagstaff-preview", "beta_reviews")
        visitor.follow(".flagstaff-confirm")
        visitor.wait_for_text(".messagelist", "customers")
        [[found]] = shop.query("SELECT conditions FROM flagstaff_segment WHERE key = 'customers'")
        plan = {"attribute": "plan", "operator": "in", "values": ["paid"]}
        assert found == [*CUSTOMERS, plan]
    finally:
        shop.query(
            f"UPDATE flagstaff_segment SET conditions = '{json.dumps(CUSTOMERS)}' "
            "WHERE key = 'customers'"
        )


def test_value_for_a_segment_and_for_a_part_of_the_others(
    script: bool, visitor: Visitor, shop: Shop
) -> None:
    shop.query("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES ('max_items', '10')")
    try:
        [[pk]] = shop.query("SELECT id FROM flagstaff_keyvaluestore WHERE key = 'max_items'")
        open_page(visitor, f"{VALUES}{pk}/change/")
        press(visitor, "add-rule:others", script=script)
        visitor.write(".flagstaff-rule-list .flagstaff-rule-value", "20")
        visitor.write(".flagstaff-rule-list .flagstaff-rule-percent input", "25")
        # The rule for all others stays below it.
        press(visitor, "add-rule:segment", script=script)
        choose(visitor, ".flagstaff-rule-list .flagstaff-segment", "customers")
        visitor.write(".flagstaff-rule-list .flagstaff-rule-value", "50")
        visitor.follow(".submit-row [name=_save]")
        assert visitor.texts("table .flagstaff-own-value") != []
        visitor.follow(".flagstaff-confirm")
        [[rules]] = shop.query("SELECT rules FROM flagstaff_keyvaluestore WHERE key = 'max_items'")
        assert rules == [
            {"conditions": [{"segment": "customers"}], "value": 50},
            {"conditions": [], "rollout_percent": 25, "value": 20},
        ]
    finally:
        shop.query("DELETE FROM flagstaff_keyvaluestore WHERE key = 'max_items'")


@pytest.mark.parametrize("width", [320, 400, 768, 1280])
def test_editor_fits_the_page(width: int, flag: str, visitor: Visitor, shop: Shop) -> None:
    long = {"attribute": "a" * 90, "operator": "version_gte", "values": ["1.0.0"] * 60}
    write(shop, [{"name": "n" * 90, "conditions": [long, {"segment": "customers"}]}, *RULES])
    visitor.set_width(width)
    try:
        open_page(visitor, flag)
        places = visitor.driver.execute_script(
            "return [...document.querySelectorAll('.flagstaff-rule-editor *')]"
            ".map(e => e.getBoundingClientRect().right)"
        )
        assert max(places) <= width
    finally:
        visitor.reset_width()
