"""Checks everything in deploy/ without a cluster: `make deploy-check`, or `python -m deploy.checking`."""
