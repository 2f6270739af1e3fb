"""The history of a row, with its links to undo and restore."""
