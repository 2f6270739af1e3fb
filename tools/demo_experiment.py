"""The demo of an experiment: simulated shoppers, and a planted effect.

`python -m tools.demo_experiment` leaves the shop running until Ctrl-C. The shoppers get their
variants from `get_variant` and buy in the shop's own tables, but the times of what they do are
moved into the past three weeks: nobody waits a week for a demo. The exit status is 1 if the report
does not say what was planted.
"""

from __future__ import annotations

import sys
from textwrap import indent

import psycopg

from tools.demo import (
    chosen_port,
    flags,
    jobs,
    new_shop,
    run,
    say,
    stop_on_signals,
    wait_for_answer,
    workers,
)
from tools.ports import LOOPBACK

# The sample data has it as a draft with its metrics.
KEY = "checkout_button"
#: The verdict that the report must have.
EXPECTED = "the treatment is better"

_PK = "SELECT id FROM flagstaff_experiments_experiment WHERE key = %s"

READY = """
  The report    {address}{report}
  The shop      {address}/
  The admin     {address}/admin/   log in as admin, password flagstaff

  Try this:
  1. In the shop, put something in the cart. Alice sees "Buy now", Bob sees "Check out".
  2. Ship the treatment with the button of its page, or with
     cd django_example && DATABASE_URL={url} \\
       {python} manage.py flags experiment ship checkout_button treatment --yes
  3. Reload the cart as Bob: everyone sees "Buy now", without a deploy.

  Ctrl-C stops the demo and deletes its data.
"""


def main() -> int:
    """Runs the demo, and returns the exit status."""
    port = chosen_port("demo SCENE=experiment")
    stop_on_signals()
    with new_shop(port) as (url, environment):
        run_experiment(environment)
        if not show_report(environment):
            return 1
        # The overview shows the verdict that they have stored.
        flags("run-jobs", environment)
        with workers(environment) as master, jobs(environment, every=5):
            wait_for_answer(port, master)
            address, report = f"http://{LOOPBACK}:{port}", page_of_report(url)
            ready = READY.format(address=address, url=url, python=sys.executable, report=report)
            print(ready, flush=True)
            master.wait()
    return 0


def run_experiment(environment: dict[str, str]) -> None:
    """Starts the experiment, and lets simulated shoppers come to it."""
    flags(f"experiment start {KEY}", environment)
    say(f"planted in {KEY}: 10 % buy with the control, and 13 % with the treatment")
    say(run("simulate_shoppers", environment).strip())
    say("  the visits are real calls of get_variant; their times are invented, because a metric")
    say("  waits seven days for each user")


def show_report(environment: dict[str, str]) -> bool:
    """Prints the report of the experiment. Returns whether it says what was planted."""
    text = flags(f"experiment report {KEY}", environment)
    print("\n" + indent(text, "    "), flush=True)
    is_as_planted = EXPECTED in text
    if not is_as_planted:
        say(f"the report does not say: {EXPECTED}")
    return is_as_planted


def page_of_report(url: str) -> str:
    """Returns the path of the admin page of the experiment."""
    with psycopg.connect(url) as session:
        row = session.execute(_PK, [KEY]).fetchone()
    if row is None:
        raise LookupError(f"there is no experiment {KEY}")
    return f"/admin/flagstaff_experiments/experiment/{row[0]}/change/"


if __name__ == "__main__":
    sys.exit(main())
