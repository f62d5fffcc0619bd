"""One module a revision, oldest first by its number; one that is released is never changed."""
