"""The flags of one user: a page, and the link to it on the page of the user."""
