"""The search over flags, values, segments, rollout plans and experiments."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils.text import capfirst

from flagstaff import experiments
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.rollouts.models import Plan
from tests.support.admin_pages import FLAGS, count_queries, page, staff, text_of
from tests.support.screen import Screen
from tests.support.sql import without_table

FLAGS_NAME = str(capfirst(FeatureFlag._meta.verbose_name_plural))
SEARCH = f"{FLAGS}search/"
ANYBODY = {"attribute": "is_authenticated", "operator": "in", "values": [True]}


@pytest.fixture
def rows() -> None:
    """One row of each kind whose key begins with "checkout"."""
    FeatureFlag.objects.create(key="checkout_flag", description="One page", tags=["payment", "eu"])
    KeyValueStore.objects.create(key="checkout_value", value="stripe")
    KeyValueStore.objects.create(key="checkout_secret", value="s3cret", secret=True)
    Segment.objects.create(key="checkout_segment", conditions=[ANYBODY])
    Plan.objects.create(flag_pk="7", key="checkout_plan", steps=["5:60s"])
    experiments.create("checkout_experiment", ["control", "treatment"])


def results_of_search(client: Client, text: str) -> dict[str, list[str]]:
    """Returns the keys that a search finds, by kind."""
    groups = Screen(page(client, SEARCH, q=text)).all("section.flagstaff-section")
    return {group.part("h2").text: group.texts("a.flagstaff-key") for group in groups}


def test_search_finds_all_kinds_by_a_part_of_the_key(operator: Client, rows: None) -> None:
    assert results_of_search(operator, "KOUT_") == {
        FLAGS_NAME: ["checkout_flag"],
        "Values": ["checkout_secret", "checkout_value"],
        "Segments": ["checkout_segment"],
        "Rollout plans": ["checkout_plan"],
        "Experiments": ["checkout_experiment"],
    }


@pytest.mark.parametrize("text", ["one PAGE", "payment", "flag eu"])
def test_search_finds_flags_by_description_and_tags(
    text: str, operator: Client, rows: None
) -> None:
    assert results_of_search(operator, text) == {FLAGS_NAME: ["checkout_flag"]}


def test_found_rows_have_their_state_and_description(operator: Client, rows: None) -> None:
    text = text_of(page(operator, SEARCH, q="checkout").replace("<", " <"))
    assert "checkout_flag off One page · payment · eu" in text
    assert "checkout_plan pending" in text
    assert "checkout_experiment draft" in text


def test_secret_value_is_neither_searched_nor_shown(operator: Client, rows: None) -> None:
    assert results_of_search(operator, "s3cret") == {}
    assert "s3cret" not in page(operator, SEARCH, q="checkout_secret")


def test_exact_key_comes_first(operator: Client) -> None:
    for key in ("a_checkout", "checkout", "checkout_2"):
        FeatureFlag.objects.create(key=key)
    [keys] = results_of_search(operator, "checkout").values()
    assert keys == ["checkout", "a_checkout", "checkout_2"]


@pytest.mark.parametrize("text", ["%", "_", "\\"])
def test_wildcards_of_sql_are_plain_characters(text: str, operator: Client) -> None:
    FeatureFlag.objects.create(key="ab")
    FeatureFlag.objects.create(key="a", description=f"has {text} in it")
    assert results_of_search(operator, text) == {FLAGS_NAME: ["a"]}


@pytest.mark.parametrize("query", ["", "?q=", "?q=%20", "?q=%00"])
def test_empty_search_shows_nothing(query: str, operator: Client, rows: None) -> None:
    html = page(operator, f"{SEARCH}{query}")
    assert "checkout" not in html
    assert "Type a part of a key" in html


def test_search_without_a_match_says_so_and_escapes_the_text(operator: Client) -> None:
    html = page(operator, SEARCH, q="<b>none")
    assert "Nothing has “&lt;b&gt;none” in its key" in html
    assert 'value="&lt;b&gt;none"' in html


def test_kind_with_many_rows_shows_twenty_and_a_link_to_its_list(operator: Client) -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"flag_{n:02}") for n in range(21))
    assert len(results_of_search(operator, "flag_")[FLAGS_NAME]) == 20
    assert f'href="{FLAGS}?q=flag_">Show all in the list' in page(operator, SEARCH, q="flag_")
    FeatureFlag.objects.filter(key="flag_00").delete()
    assert "Show all in the list" not in page(operator, SEARCH, q="flag_")


def test_user_finds_only_the_kinds_that_the_user_may_view(rows: None) -> None:
    viewer = staff("view_segment", "view_keyvaluestore")
    assert set(results_of_search(viewer, "checkout")) == {"Values", "Segments"}
    assert staff(name="other").get(SEARCH, {"q": "checkout"}).status_code == 403


def test_search_makes_one_query_for_each_kind_and_one_for_the_flags_of_plans(
    operator: Client, rows: None
) -> None:
    empty = count_queries(operator, SEARCH)
    assert count_queries(operator, f"{SEARCH}?q=checkout") == empty + 6


def test_kind_whose_table_is_missing_says_so(operator: Client, rows: None) -> None:
    with without_table("flagstaff_experiments_experiment"):
        assert results_of_search(operator, "checkout")["Experiments"] == []
        assert "This cannot be read." in page(operator, SEARCH, q="checkout")


def test_kind_whose_list_has_no_search_is_left_out(
    operator: Client, rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site.get_model_admin(Segment), "search_fields", ())
    assert results_of_search(operator, "checkout_segment") == {}


def test_search_over_a_relation_finds_each_row_once(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = FeatureFlag.objects.create(key="a")
    flag.allowed_users.set(User.objects.create(username=f"guest{n}") for n in range(3))
    own = admin.site.get_model_admin(FeatureFlag)
    monkeypatch.setattr(own, "search_fields", ("allowed_users__username",))
    assert results_of_search(operator, "guest")[FLAGS_NAME] == ["a"]
