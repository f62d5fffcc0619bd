"""The report of a load test: from a run to values (`build`), and from these to a page (`page`)."""
