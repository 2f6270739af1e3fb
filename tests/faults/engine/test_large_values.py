"""Values that are too large together: those that do not fit are skipped and reported.

tests/core/snapshot.rs and tests/core/postgres_engine.rs have rows that are wrong by themselves.
"""

from tests.support.fixtures import Query
from tests.support.workers import Worker


def test_values_beyond_64_mib_in_total_are_skipped(worker: Worker, query: Query) -> None:
    size, count, small = 1_000_000, 70, 200
    many = "FROM generate_series(1, {}) AS n"
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'large ' || n, to_jsonb(n % 10 || repeat('x', {size - 3})) {many.format(count)}"
    )
    # Small values are kept although they come after the large ones.
    query(
        "INSERT INTO flagstaff_keyvaluestore (key, value) "
        f"SELECT 'small ' || n, to_jsonb(n) {many.format(small)}"
    )
    worker.ask("refresh", 30)
    fitting = 64 * 1024 * 1024 // size
    problems = [problem.partition(" is set aside")[0] for problem in worker.ask("problems")]
    assert len(problems) == count - fitting
    skipped = {f"large {n}" for n in range(1, count + 1) if f'value "large {n}"' in problems}
    assert len(skipped) == count - fitting
    for number in range(1, small + 1):
        assert worker.ask("get_value", f"small {number}") == number
    for number in range(1, count + 1):
        key = f"large {number}"
        value = worker.ask("get_value", key, "missing")
        assert value == ("missing" if key in skipped else f"{number % 10}" + "x" * (size - 3))
    query("DELETE FROM flagstaff_keyvaluestore WHERE key LIKE 'large 1%'")
    worker.ask("refresh", 30)
    assert worker.ask("problems") == []
