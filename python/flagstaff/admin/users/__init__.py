"""The allowed users of a flag in the admin.

A flag can have 100,000 of them, so its page shows a panel, and a page of their own changes them.
Only the page that adds a flag has an input.
"""
