"""The page of changes, which is also the history of each row, and the page that undoes them."""
