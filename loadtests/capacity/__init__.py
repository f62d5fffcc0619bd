"""A queueing model of the gateway with one model, fitted on the steps of a load test; see `answer`."""
