"""The list and the pages of flags."""
