"""The formulas of experiments. Pure, and nothing here blocks or queries.

An arm delivers sums; `effects` makes an `Estimate` of them, and an `Effect` of two: a difference or
a lift. `sequential` gives it an interval and a p value that are valid at every look, and corrects
those of several metrics. `mismatch` comes before, `verdict` after. Standard library only.
"""
