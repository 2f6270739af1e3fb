"""The actions that change or export the selected flags of the list."""
