"""The pages of the actions of experiments: what they ask, show, write and refuse."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import experiments
from flagstaff.experiments.looks import look_at_addition
from flagstaff.experiments.models import Experiment, ExperimentEvent, State
from tests.support.admin_pages import (
    act,
    asks,
    errors_of,
    messages_of,
    notes_of,
    page,
    preview_of,
    production,
    staff,
    typed,
    undo_urls,
)
from tests.support.experiments import (
    EXPERIMENTS,
    KEY,
    experiment_url,
    expose_both,
    newest_event,
    stored,
)
from tests.support.shop import STAFF, Shop
from tests.support.terminals import asked

ADD = f"{EXPERIMENTS}add/"
SHARES = "control 50.0 %, treatment 50.0 %"


def preview(client: Client, url: str, **arguments: Any) -> dict[str, list[str]]:
    """Returns what the page of an action shows of these arguments, without a write."""
    before = ExperimentEvent.objects.count()
    response = client.post(url, typed(client, url, **arguments)) if arguments else client.get(url)
    assert ExperimentEvent.objects.count() == before
    lines = preview_of(response).items()
    return {field: [side.replace("\xa0", " ") for side in sides] for field, sides in lines}


def test_new_experiment_is_shown_then_created(operator: Client, admin_user: User) -> None:
    assert "control\ntreatment</textarea>" in page(operator, ADD)
    data = {"key": KEY, "variants": "control\ntreatment:3", "traffic_percent": "40"}
    assert preview(operator, ADD, **data, rules="") == {
        "Variants": ["\N{EN DASH}", "control 10.0 %, treatment 30.0 %"],
        "Rules": ["\N{EN DASH}", "none"],
    }
    response = act(operator, ADD, **data, description="shop", _reason="plan of the quarter")
    experiment = stored()
    assert response.redirect_chain[-1][0] == experiment_url(experiment)
    assert "created with control 1, treatment 3" in messages_of(response)[0]
    assert (experiment.state, experiment.traffic_percent, experiment.description) == (
        State.DRAFT,
        40,
        "shop",
    )
    event = ExperimentEvent.objects.get()
    assert (event.actor, event.reason) == (str(admin_user.pk), "plan of the quarter")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"variants": "control\n\nb:x"}, 'Line 3: "b:x" is no variant'),
        ({"key": "dark_mode"}, "is the key of a flag"),
        ({"rules": "[{"}, "not valid JSON"),
    ],
)
def test_wrong_argument_is_an_error_and_keeps_what_was_typed(
    change: dict[str, str], error: str, operator: Client, shop: Shop
) -> None:
    shop.flag("dark_mode")
    data = {"key": KEY, "description": "typed text", **change}
    response = act(operator, ADD, **data)
    assert any(error in message for message in errors_of(response)), errors_of(response)
    assert "typed text" in response.content.decode()
    assert not Experiment.objects.exists()


def test_edit_is_prefilled_and_changes_a_draft(operator: Client, draft: Experiment) -> None:
    experiments.edit(KEY, guardrails={"complaints": 0.012}, smallest_effect=0.02)
    url = experiment_url(draft, "edit")
    html = page(operator, url)
    assert "replaces all" not in page(operator, ADD)
    assert "complaints=0.012</textarea>" in html
    assert '<option value="orders" selected>orders</option>' in html
    assert 'name="key"' not in html
    changes = {"description": "", "planned_units": "9000", "guardrails": "", "others": "revenue"}
    shown = preview(operator, url, **changes)
    assert shown["Guardrails"] == ["complaints (0.012)", "none"]
    assert shown["Planned units"] == ["4,000", "9,000"]
    act(operator, url, **changes)
    experiment = stored()
    assert (experiment.description, experiment.planned_units, experiment.smallest_effect) == (
        "",
        9000,
        0.02,
    )
    assert (experiment.other_metrics, experiment.guardrails) == (["revenue"], {})
    for lines, error in [
        ("complaints=0.01\nrevenue=much", "Line 2: 'revenue=much' is no guardrail"),
        ("complaints=1\ncomplaints=2", "complaints is there twice; remove one"),
        ("complaints=-1", "the tolerated harm of complaints is -1.0"),
    ]:
        response = act(operator, url, guardrails=lines)
        assert any(error in message for message in errors_of(response)), errors_of(response)


def test_start_says_who_takes_part_and_asks_once(
    operator: Client, draft: Experiment, admin_user: User
) -> None:
    experiments.edit(KEY, rules=[{"conditions": [STAFF]}])
    url = experiment_url(draft, "start")
    lines = preview(operator, url)
    assert lines["state"] == ["draft", "running"]
    assert lines["who gets what"] == ["every call gets its default", SHARES]
    assert lines["who takes part"][0] == "nobody"
    assert "is_staff" in lines["who takes part"][1]
    notes = " ".join(notes_of(operator.get(url)))
    assert "each unit that meets it gets a variant" in notes
    other = experiment_url(experiments.create("other"), "start")
    problem = "There is no primary metric, so there will be no verdict."
    assert problem in notes_of(operator.get(other))
    assert problem not in notes
    response = act(operator, url, _reason="launch")
    text = f"“{KEY}”: started: control 50 %, treatment 50 % of all units."
    assert messages_of(response)[0].startswith(text)
    [undo] = undo_urls(response)
    assert undo == experiment_url(draft, "stop")
    event = newest_event()
    assert (event.kind, event.reason, event.actor) == ("started", "launch", str(admin_user.pk))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("grow", {"percent": "40"}),
        ("restart", {"variants": "control\ntreatment:3", "traffic_percent": "40"}),
    ],
)
def test_change_of_the_traffic_shows_the_shares_of_all_units(
    name: str, arguments: dict[str, str], operator: Client
) -> None:
    experiments.create(KEY, ["control", "treatment:3"], traffic_percent=20)
    url = experiment_url(experiments.start(KEY), name)
    assert preview(operator, url, **arguments) == {
        "Variants": ["control 5.00 %, treatment 15.0 %", "control 10.0 %, treatment 30.0 %"],
        "Traffic in percent": ["20", "40"],
    }
    act(operator, url, **arguments)
    assert stored().traffic_percent == 40


def test_further_guardrail_says_that_the_level_of_a_stop_falls(running: Experiment) -> None:
    fixed = "Only units that are exposed from now on count. A metric that was added stays."
    assert look_at_addition(KEY, "complaints", 0.01).notes == [fixed]
    experiments.add_metric(KEY, "complaints", tolerated=0.01)
    note = look_at_addition(KEY, "revenue", 5.0).notes[1].replace("\xa0", " ")
    assert "each stops at 2.50 % instead of 5.00 %, so a stop may be withdrawn" in note


def test_force_gives_and_takes_back_a_variant(operator: Client, running: Experiment) -> None:
    url = experiment_url(running, "force")
    act(operator, url, unit="42", variant="treatment")
    assert stored().overrides == {"42": "treatment"}
    act(operator, url, unit="42", variant="")
    assert stored().overrides == {}


def test_ship_shows_what_follows_and_can_be_undone(operator: Client, better: Experiment) -> None:
    url = experiment_url(better, "ship")
    response = operator.post(url, {**typed(operator, url), "winner": ""})
    assert errors_of(response) == ["Choose the variant to ship."]
    lines = preview(operator, url, winner="treatment")
    assert lines["who gets what"] == [SHARES, "everyone gets “treatment”"]
    response = act(operator, url, winner="treatment")
    places = f"find its places with: python manage.py flags references {KEY}"
    assert f"Remove {KEY} from the code; {places}" in messages_of(response)[0]
    assert undo_urls(response) == [experiment_url(better, "undo")]
    assert (stored().state, stored().winner) == (State.SHIPPED, "treatment")
    experiments.undo(KEY)
    # That the treatment is better is a reason not to ship the control.
    notes = notes_of(operator.post(url, typed(operator, url, winner="control")))
    assert notes == [
        "2,000 of 4,000 units that met a variant get another one.",
        "treatment: the treatment is better.",
    ]


def test_stop_and_restart_say_how_many_units_get_something_else(
    operator: Client, running: Experiment
) -> None:
    def first_note(name: str, **arguments: Any) -> str:
        url = experiment_url(running, name)
        shown = operator.post(url, typed(operator, url, **arguments)) if arguments else None
        return notes_of(shown or operator.get(url))[0]

    stop = notes_of(operator.get(experiment_url(running, "stop")))
    recorded = "After the stop, no exposure is recorded. “Undo” takes the stop back."
    assert stop == ["No unit has met a variant yet.", recorded]
    expose_both(running, (30, 3), (10, 1))
    assert first_note("stop") == "40 units that met a variant get the default instead."
    text = "About {} of 40 units that met a variant get another one, or none."
    assert first_note("restart") == text.format(20)
    # Half of the units take part: a quarter of 30 and a quarter of 10 keep their variant.
    assert first_note("restart", traffic_percent="50") == text.format(30)


def test_stop_of_a_shipped_experiment_says_that_all_units_lose_the_variant(
    operator: Client, running: Experiment
) -> None:
    expose_both(running, (30, 3), (10, 1))
    experiments.ship(KEY, "treatment")
    assert notes_of(operator.get(experiment_url(running, "stop")))[:2] == [
        "All units get the default instead of “treatment”.",
        "40 of them met a variant before the ship.",
    ]


def test_ship_in_production_needs_the_typed_key(
    operator: Client, running: Experiment, settings: Any
) -> None:
    production(settings)
    url = experiment_url(running, "ship")
    act(operator, url, winner="treatment")
    assert stored().state == State.RUNNING
    act(operator, url, winner="treatment", _typed_key=KEY)
    assert stored().state == State.SHIPPED


def test_ship_warns_of_what_the_figures_do_not_show(operator: Client, running: Experiment) -> None:
    Experiment.objects.update(guardrails={"complaints": 0.05})
    url = experiment_url(running, "ship")
    notes = notes_of(operator.post(url, typed(operator, url, winner="treatment")))
    assert [note for note in notes if "Guardrail" in note] == [
        "Guardrail complaints cannot be judged yet."
    ]
    expose_both(running, (300, 30), (300, 34))
    notes = notes_of(operator.post(url, typed(operator, url, winner="treatment")))
    warnings = [
        "No treatment has been shown to be better.",
        "Guardrail complaints may have got worse by more than is tolerated.",
    ]
    assert [note for note in notes if note in warnings] == warnings
    # The control harms nothing.
    of_control = notes_of(operator.post(url, typed(operator, url, winner="control")))
    assert warnings[1] not in of_control
    # The terminal says the same.
    assert all(
        warning in asked(f"experiment ship {KEY} treatment", "n").err for warning in warnings
    )
    Experiment.objects.update(guardrails={"leaking": 0.1})
    notes = notes_of(operator.post(url, typed(operator, url, winner="control")))
    assert any("No report will be stored: the metric leaking fails" in note for note in notes)
    act(operator, url, winner="control")
    assert (stored().winner, stored().frozen_report) == ("control", None)


def test_ship_before_a_verdict_does_not_advise_to_remove_the_code(
    operator: Client, running: Experiment
) -> None:
    response = act(operator, experiment_url(running, "ship"), winner="treatment")
    assert "the code" not in messages_of(response)[0]


def test_undo_of_a_ship_shows_and_restores_the_running_experiment(
    operator: Client, shipped: Experiment
) -> None:
    url = experiment_url(shipped, "undo")
    assert preview(operator, url) == {
        "event": ["shipped: all units get treatment", "undone"],
        "state": ["shipped", "running"],
        "who gets what": ["everyone gets “treatment”", SHARES],
        "report": ["stored", "computed from all exposures"],
    }
    text = "Units that met the shipped variant meanwhile stay in the report."
    assert text in notes_of(operator.get(url))
    act(operator, url)
    assert (stored().state, stored().frozen_report) == (State.RUNNING, None)


def test_experiment_is_deleted_unless_it_runs(operator: Client, running: Experiment) -> None:
    url = experiment_url(running, "delete")
    response = operator.get(url)
    assert any("is running; this action is only for" in message for message in errors_of(response))
    assert not asks(response)
    operator.post(url, {"_confirmed": "1"})
    assert Experiment.objects.exists()
    experiments.stop(KEY)
    assert preview(operator, url) == {"state": ["stopped", "deleted"]}
    response = act(operator, url)
    assert messages_of(response)[0].startswith(f"“{KEY}” was deleted.")
    assert not Experiment.objects.exists()


def test_pages_of_actions_need_their_right(shipped: Experiment) -> None:
    viewer, stranger = staff("view_experiment"), staff("view_featureflag", name="stranger")
    html = page(viewer, experiment_url(shipped))
    assert "Can change experiment" in html
    assert experiment_url(shipped, "undo") not in html
    for path in (EXPERIMENTS, ADD, experiment_url(shipped), experiment_url(shipped, "stop")):
        assert stranger.get(path).status_code == 403, path
    for name in ("edit", "start", "stop", "ship", "undo", "restart", "delete"):
        assert viewer.get(experiment_url(shipped, name)).status_code == 403, name
        assert viewer.post(experiment_url(shipped, name)).status_code == 403, name
    changer = staff("change_experiment", name="changer")
    assert changer.get(experiment_url(shipped, "undo")).status_code == 200
    assert changer.get(experiment_url(shipped, "delete")).status_code == 403
    assert changer.get(ADD).status_code == 403
    assert staff("add_experiment", name="adder").get(ADD).status_code == 200
