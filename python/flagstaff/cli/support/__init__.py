"""What the verbs share: arguments, output, and the messages about a change."""
