"""The allowed users of a flag, of whom it can have 100,000: a panel, and a page of their own."""
