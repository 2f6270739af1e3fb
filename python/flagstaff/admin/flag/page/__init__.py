"""The page of a flag, and the pages that its buttons open."""
