"""The report of `make mutants`: which results count, and when it fails."""

import json

from tools.mutants import outcomes_of, percent_of, report


def outcomes(**results: list[str]) -> str:
    """Returns an outcomes.json with these results of each module's mutants."""
    mutants = [
        {"scenario": {"Mutant": {"file": f"src/{module}.rs", "name": name}}, "summary": result}
        for module, summaries in results.items()
        for name, result in zip("abcdefghijklmnopqrst", summaries, strict=False)
    ]
    return json.dumps({"outcomes": [{"scenario": "Baseline", "summary": "Success"}, *mutants]})


def test_timeout_counts_as_caught_and_what_does_not_compile_not_at_all() -> None:
    results = ["CaughtMutant", "Timeout", "MissedMutant", "Unviable"]
    counted = outcomes_of(outcomes(live=results))
    assert (len(counted), round(percent_of(counted), 1)) == (3, 66.7)


def test_missed_mutants_and_timeouts_are_listed_above_the_modules() -> None:
    text = outcomes(live=["CaughtMutant", "MissedMutant"], flag=["Timeout"])
    assert report(outcomes_of(text)) == [
        "missed: b",
        "timed out: a",
        "src/flag.rs                   1 of    1  100.0 %",
        "src/live.rs                   1 of    2   50.0 %",
        "total                         2 of    3   66.7 %",
        "The tests catch less than 95 %: add tests for missed mutants.",
    ]


def test_95_percent_is_enough_and_no_viable_mutant_is_not() -> None:
    enough = outcomes_of(outcomes(live=["CaughtMutant"] * 19 + ["MissedMutant"]))
    assert report(enough)[-1] == "total                        19 of   20   95.0 %"
    assert "less than 95 %" in report(outcomes_of(outcomes(live=["Unviable"])))[-1]


def test_mutant_that_does_not_match_the_pattern_does_not_count() -> None:
    text = outcomes(live=["CaughtMutant", "MissedMutant"])
    assert [outcome.mutant for outcome in outcomes_of(text, "a")] == ["a"]
