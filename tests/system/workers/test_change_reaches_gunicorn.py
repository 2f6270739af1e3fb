"""The workers of gunicorn see a change. tests/faults has the other servers and worker classes."""

import pytest

from tests.faults.app_servers import GUNICORN, WORKERS, served
from tests.support.fixtures import Query


@pytest.mark.smoke
def test_change_reaches_every_worker_of_gunicorn(database: str, query: Query) -> None:
    with served(["gunicorn", *GUNICORN], database) as server:
        server.wait()
        first = server.get_from_each(WORKERS)
        assert {response["gateway"] for response in first.values()} == {"stripe"}
        query("UPDATE flagstaff_keyvaluestore SET value = to_jsonb('paypal'::text)")
        assert server.all_have_value(WORKERS, "paypal")
