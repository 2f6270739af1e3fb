"""The rows of workers behind replication, which report rarely and over connections of others."""

from collections.abc import Callable

import pytest

from flagstaff import wait_for_workers
from flagstaff._tables.database import db
from flagstaff._workers.register import read_workers
from flagstaff._workers.status import notes, propagation_messages, worker_label
from tests.database.workers.conftest import SetSteps
from tests.support.fake_workers import NEWEST, FakeWorker, Join, join, let_pass
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

__all__ = ["join"]

DAY = 86_400

InRegion = Callable[[str], FakeWorker]


@pytest.fixture
def in_region(join: Join) -> InRegion:
    """Connects a fake worker of the region "eu", which has reported once."""

    def join_region(host: str) -> FakeWorker:
        worker = join(host, reports=False, is_pooled=True, application_name="flagstaff-reports")
        worker.region = "eu"
        worker.report()
        return worker

    return join_region


def test_worker_of_a_region_is_named_with_it(in_region: InRegion) -> None:
    worker = in_region("web-7")
    worker.leave()
    [shown] = read_workers().registered
    assert (str(shown), shown.region, shown.is_replicated) == ("web-7 (eu, pid 1)", "eu", True)
    assert shown.is_expected


def test_region_is_silent_until_one_of_its_workers_reports(join: Join, in_region: InRegion) -> None:
    local = join("web-1")
    in_region("web-2")
    other = in_region("web-3")
    let_pass(301)
    local.report()
    assert read_workers().silent_regions == ("eu",)
    other.report()
    assert read_workers().silent_regions == ()


def test_lost_worker_of_a_region_is_listed_for_a_day(join: Join, in_region: InRegion) -> None:
    in_region("web-1")
    join("web-2", is_pooled=True)
    let_pass(DAY)
    join("web-3")
    assert {worker.host for worker in read_workers().registered} == {"web-1", "web-3"}
    let_pass(DAY)
    join("web-4")
    assert "web-1" not in {worker.host for worker in read_workers().registered}


def test_worker_of_a_region_does_not_hide_one_that_does_not_report(
    join: Join, in_region: InRegion
) -> None:
    join("web-1", reports=False)
    in_region("web-2").leave()
    assert read_workers().unreported == 1


def test_worker_of_a_region_shows_tokens_late_and_is_not_behind(in_region: InRegion) -> None:
    worker = in_region("web-1")
    # The tokens of earlier tests may be old, or none are left.
    rows("SELECT flagstaff_barrier_v1()")
    worker.load()
    rows("SELECT flagstaff_barrier_v1()")
    rows("UPDATE flagstaff_token SET at = at - interval '1 minute'")
    assert read_workers().behind == ()
    rows("UPDATE flagstaff_token SET at = at - interval '2 minutes'")
    assert [worker.host for worker in read_workers().behind] == ["web-1"]


def test_wait_for_a_silent_region_is_not_complete_and_says_so(
    join: Join, in_region: InRegion, set_steps: SetSteps
) -> None:
    local = join("web-1")
    in_region("web-2")
    let_pass(301)
    set_steps(local.load)
    outcome = wait_for_workers()
    assert (outcome.complete, outcome.applied, outcome.silent_regions) == (False, 1, ("eu",))
    assert "Regions in which no worker reports: eu." in [*propagation_messages(outcome)]


def test_wait_counts_a_worker_of_a_region(in_region: InRegion, set_steps: SetSteps) -> None:
    worker = in_region("web-1")
    set_steps(lambda: worker.report(*rows(NEWEST)[0]))
    assert wait_for_workers().complete


def test_wait_that_does_not_ask_regions_is_complete_without_them_and_names_them(
    join: Join, in_region: InRegion, set_steps: SetSteps
) -> None:
    local = join("web-1")
    in_region("web-2")
    set_steps(local.load)
    outcome = wait_for_workers(regions=False)
    assert (outcome.complete, outcome.applied, outcome.unasked_regions) == (True, 1, ("eu",))
    assert "Regions that were not asked: eu." in [*propagation_messages(outcome)]


def test_only_a_wait_that_asks_regions_leaves_a_token_that_says_so() -> None:
    rows("DELETE FROM flagstaff_token")
    for regions in (False, True, False):
        wait_for_workers(0, regions=regions)
    asking = rows("SELECT pks FROM flagstaff_token WHERE relation = 'b' ORDER BY id")
    assert asking == [([],), (["regions"],), ([],)]
    [(newest,)] = rows("SELECT id FROM flagstaff_token WHERE pks <> '{}'")
    [summary] = db.query("poll_tokens_v1")
    assert summary[2] == newest


@pytest.mark.parametrize(
    ("timeline", "has_newest", "is_elsewhere"),
    [("same", False, False), ("other", False, True), ("other", True, False)],
)
def test_worker_reads_another_server_if_its_timeline_differs_and_it_lacks_the_newest_token(
    timeline: str, has_newest: bool, is_elsewhere: bool, in_region: InRegion
) -> None:
    [(system, number)] = db.query("server_v1")
    worker = in_region("web-1")
    worker.server = (system, number + (timeline == "other"))
    [(token, nonce)] = rows(NEWEST) or [(7, 0)]
    worker.report(token, nonce if has_newest else nonce ^ 1)
    register = read_workers()
    assert [shown.host for shown in register.elsewhere] == ["web-1"] * is_elsewhere
    said = [note for note in notes(register) if "another server than this one" in str(note)]
    assert len(said) == is_elsewhere
    if is_elsewhere:
        [shown] = register.elsewhere
        assert shown.is_behind is None
        assert str(worker_label(shown)) == f"reads another server, timeline {number + 1}"


def test_server_that_does_not_say_which_one_it_is_leaves_workers_as_they_are(
    in_region: InRegion,
) -> None:
    worker = in_region("web-1")
    worker.server = ("7", 1)
    worker.report()
    rows("REVOKE EXECUTE ON FUNCTION pg_control_system FROM PUBLIC")
    rows("CREATE ROLE stranger; GRANT pg_read_all_data TO stranger; SET ROLE stranger")
    try:
        [shown] = read_workers().registered
    finally:
        rows("RESET ROLE; DROP ROLE stranger")
        rows("GRANT EXECUTE ON FUNCTION pg_control_system TO PUBLIC")
    assert (shown.timeline, shown.is_elsewhere) == (1, False)
