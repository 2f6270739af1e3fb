"""Parts of the admin of flags besides the list, the page and the form."""
