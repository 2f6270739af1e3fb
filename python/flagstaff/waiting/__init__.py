"""Actions that wait: for a time, for a second person, or for both.

The table is `flagstaff.models.WaitingAction`. `actions` stores an action and decides about it, and
`running` is the job that runs it. Both stand on the same look.
"""
