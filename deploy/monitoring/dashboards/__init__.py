"""Grafana's dashboards, made by code; what Grafana reads lies in json/.

Change a module here, run `make dashboards`, and commit both. `drift` says when that was forgotten.
"""

from deploy.monitoring.dashboards.collection import Expression, drift, expressions

__all__ = ["Expression", "drift", "expressions"]
