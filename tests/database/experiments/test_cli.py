"""`manage.py flags experiment` and `sample-size`."""

import pytest

from flagstaff import experiments
from flagstaff.experiments.statistics.sequential import size_for_means
from tests.support.experiments import KEY, stored
from tests.support.forced_off import forced_off
from tests.support.shop import Shop
from tests.support.terminals import asked, document, flags, ok, rows, run, typed, undo_of


def test_change_that_is_there_already_says_so() -> None:
    ok(f"experiment create {KEY} --description web")
    for line in (f"stop {KEY} --no-wait", f"edit {KEY} --description web"):
        assert ok(f"experiment {line}").err == f"{KEY}: nothing had to be changed\n"


def test_decisions_are_asked_about_and_printed_with_the_way_back(shop: Shop) -> None:
    shop.experiment(KEY)
    ran = run(f"experiment ship {KEY} treatment")
    assert (ran.status, "--yes" in ran.err) == (2, True)
    ran = asked(f"experiment restart {KEY}", "n")
    assert "The exposures so far are no longer reported." in ran.err
    assert (ran.status, stored().run) == (2, 0)
    shipped = flags("experiment", "ship", KEY, "treatment", "--yes")
    places = f"find its places with: python manage.py flags references {KEY}"
    assert f"remove {KEY} from the code; {places}" in shipped.err
    ran = asked(f"experiment undo {KEY}", "n")
    assert f"Undo “shipped: all units get treatment” of {KEY}? It is running again." in ran.err
    assert run(undo_of(shipped.err)).status == 0
    assert stored().state == "running"


def test_impossible_action_and_unknown_key_say_what_to_do() -> None:
    experiments.create(KEY)
    ran = run(f"experiment grow {KEY} 50 --yes")
    problem = f"refused: {KEY} is draft; this action is only for an experiment that is"
    assert (ran.status, problem in ran.err) == (4, True)
    deleted = document("experiment", "delete", KEY, "--yes")
    assert deleted == {"key": KEY, "deleted": True, "undo": None}
    expected = f'no experiment {KEY}; create it: "manage.py flags experiment create {KEY}"'
    for name in ("start", "report"):
        ran = run(f"experiment {name} {KEY}")
        assert (ran.status, expected in ran.err) == (5, True)


def test_printed_undo_of_a_forced_unit_can_be_run_also_if_it_begins_with_a_dash() -> None:
    experiments.create(KEY)
    assert flags("experiment", "force", KEY, "--variant", "control", "--", "-a7").status == 0
    ran = flags("experiment", "force", KEY, "--", "-a7")
    assert stored().overrides == {}
    assert run(undo_of(ran.err)).status == 0
    assert stored().overrides == {"-a7": "control"}


def test_forced_off_experiment_is_named_in_list_details_and_report(shop: Shop) -> None:
    shop.experiment(KEY)
    notice = "forced off in this process by FLAGSTAFF_FORCE_OFF"
    with forced_off([KEY]):
        assert flags("experiment", "list").err == f"{notice}: {KEY}\n"
        for line in ("flags experiment list", f"flags experiment show {KEY}"):
            assert "running (forced off)" in typed(line)
        report = flags("experiment", "report", KEY).out
        assert report.startswith(f"F{notice[1:]}: every call returns its default.")
        assert document("experiment", "report", KEY)["forced_off"] is True
        assert notice in flags("experiment", "stop", KEY).err
    assert document("experiment", "show", KEY)["forced_off"] is False


def test_list_has_all_with_the_newest_first_and_show_the_events_of_one() -> None:
    assert flags("experiment", "list").err == "there is no experiment\n"
    experiments.create("first")
    experiments.create("second")
    assert "created with control 1, treatment 1" in ok("experiment show first").out
    shown = document("experiment", "show", "first")
    assert (shown["key"], shown["state"]) == ("first", "draft")
    assert [event["kind"] for event in shown["events"]] == ["created"]
    variants = "control 50 %, treatment 50 %"
    assert [row[:3] for row in rows("experiment", "list")] == [
        ["second", "draft", variants],
        ["first", "draft", variants],
    ]
    assert [experiment["key"] for experiment in document("experiment", "list")] == [
        "second",
        "first",
    ]


@pytest.mark.parametrize("shares", [("10%", "12%"), ("0.1", "0.12")])
def test_shares_give_the_units_and_the_settings_of_the_experiment(shares: tuple[str, str]) -> None:
    line = ("sample-size", "--from", shares[0], "--to", shares[1], "--per-day", "500")
    assert document(*line) == {
        "one_look": 7682,
        "planned": 13100,
        "average": 8920,
        "without_effect": 15300,
        "days": 27,
    }
    assert flags(*line).err.startswith(
        "about 13,100 units (1.7 \N{MULTIPLICATION SIGN} 7,682) find the planned effect in four of "
        "five cases, 8,920 on average; without an effect, 15,300 units say so in four of five. "
        "Set --planned-units 13100 --smallest-effect 0.02;"
    )


def test_mean_takes_its_deviation() -> None:
    size = document("sample-size", "--deviation", "30", "--effect", "1.5")
    assert size["planned"] == size_for_means(30, 1.5).planned
    assert size["days"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "write --from and --to for a share, or --deviation and --effect for a mean"),
        (("--from", "10%"), "write --from and --to"),
        (("--from", "10%", "--to", "12%", "--deviation", "3"), "write --from and --to"),
        (("--from", "10%", "--to", "10%"), "treatment is equal to control"),
        (("--from", "110%", "--to", "10%"), "expected a share such as 0.1 or 10%, not '110%'"),
        (("--deviation", "-1", "--effect", "1"), "expected a number above 0"),
    ],
)
def test_unusable_arguments_of_sample_size_are_refused(
    arguments: tuple[str, ...], problem: str
) -> None:
    ran = flags("sample-size", *arguments)
    assert ran.status != 0
    assert problem in ran.err
