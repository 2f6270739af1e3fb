"""The demo of experiments: simulated shoppers, a planted effect, and a planted mistake.

`python -m tools.demo_experiment` leaves the shop running until Ctrl-C; with `--exit` it ends at
once. The shoppers get their variants from `get_variant` and buy in the shop's own tables, but the
times of what they do are moved into the past three weeks: nobody waits a week for a demo. The exit
status is 1 if a report does not say what was planted.
"""

from __future__ import annotations

import argparse
import os
import sys
from textwrap import indent

import psycopg

from tools.demo import chosen_port, manage, stop_on_signals, wait_for_answer, workers
from tools.demo_commands import flags, run, say
from tools.ports import LOOPBACK
from tools.postgres import Postgres

BUTTON, PHOTOS = "checkout_button", "large_photos"
#: The verdict that each report must have.
EXPECTED = {BUTTON: "the treatment is better", PHOTOS: "no verdict: the shares are wrong"}
START = (
    # The sample data has the button as a draft with its metrics.
    f"experiment start {BUTTON}",
    f"experiment create {PHOTOS} --description 'Do large photos sell more?'",
    f"experiment edit {PHOTOS} --primary orders --planned-units 20000",
    f"experiment start {PHOTOS}",
)

_PK = "SELECT id FROM flagstaff_experiments_experiment WHERE key = %s"

READY = """
  The winner    {address}{winner}
  The mistake   {address}{mistake}
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end after the reports")
    options = parser.parse_args()
    port = chosen_port("demo SCENE=experiment")
    stop_on_signals()
    with Postgres() as server:
        environment = os.environ | {"DATABASE_URL": server.url, "PORT": str(port)}
        for command in ("migrate", "seed"):
            manage(command, environment)
        run_experiments(environment)
        is_as_planted = show_report(BUTTON, environment) and show_report(PHOTOS, environment)
        if is_as_planted:
            say("the lost shoppers seldom buy: figures of those who are left would show a better")
            say("  treatment, although it has no effect. So there are none")
        if is_as_planted and not options.exit:
            with workers(environment) as master:
                wait_for_answer(port, master)
                ready = READY.format(
                    address=f"http://{LOOPBACK}:{port}",
                    url=server.url,
                    python=sys.executable,
                    winner=page_of(BUTTON, server.url),
                    mistake=page_of(PHOTOS, server.url),
                )
                print(ready, flush=True)
                master.wait()
    return 0 if is_as_planted else 1


def run_experiments(environment: dict[str, str]) -> None:
    """Starts both experiments, and lets simulated shoppers come to them."""
    for command in START:
        flags(command, environment)
    say(f"planted in {BUTTON}: 10 % buy with the control, and 13 % with the treatment")
    say(f"planted in {PHOTOS}: the treatment has no effect, but its page fails in an old browser")
    say("  before it records the variant, and shoppers with an old browser seldom buy")
    say(run("simulate_shoppers", environment).strip())
    say("  the visits are real calls of get_variant; their times are invented, because a metric")
    say("  waits seven days for each user")


def show_report(key: str, environment: dict[str, str]) -> bool:
    """Prints the report of an experiment. Returns whether it says what was planted."""
    text = flags(f"experiment report {key}", environment)
    print("\n" + indent(text, "    "), flush=True)
    is_as_planted = EXPECTED[key] in text
    if not is_as_planted:
        say(f"the report of {key} does not say: {EXPECTED[key]}")
    return is_as_planted


def page_of(key: str, url: str) -> str:
    """Returns the path of the admin page of an experiment."""
    with psycopg.connect(url) as session:
        row = session.execute(_PK, [key]).fetchone()
    if row is None:
        raise LookupError(f"there is no experiment {key}")
    return f"/admin/flagstaff_experiments/experiment/{row[0]}/change/"


if __name__ == "__main__":
    sys.exit(main())
