"""Simulated shoppers, who show what the report of an experiment says after three weeks.

The shoppers get their variants from the real `get_variant`, which records them as in a web request,
and their orders are rows of the shop. Two things are not real:

- What they do is planted: `shoppers.py` says how likely each one buys with each variant.
- The times are invented. A metric waits a week for each user and a verdict needs a week, so
  `times.py` moves the exposures, the orders and the start of the experiments into the past three
  weeks, with SQL. Never do this in a shop with real users.

The shoppers, their times and their orders are the same in each run.
"""

from __future__ import annotations

from store.simulation.run import Simulated, simulate

__all__ = ["Simulated", "simulate"]
