"""The page that undoes changes."""
