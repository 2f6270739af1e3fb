"""Actions that wait: for a time, for a second person, or for both.

The table is `flagstaff.models.WaitingAction`. `asking` stores an action, `actions` decides about
it, and `running` is the job that runs it. All three look at the same `Prospect`.
"""
