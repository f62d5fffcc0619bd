"""Locust's entry: users of gRPC and REST. `python -m loadtests` runs it.

By hand, with Locust's web UI at http://127.0.0.1:8089, against a running gateway:

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
"""

from __future__ import annotations

import grpc.experimental.gevent
from locust import events

from loadtests.swarm.install import install
from loadtests.swarm.leader import Pace
from loadtests.swarm.users import GrpcUser, RestBinaryUser, RestJsonUser

__all__ = ["GrpcUser", "Pace", "RestBinaryUser", "RestJsonUser"]

# Importing locust has patched the standard library; gRPC must follow before the first channel.
grpc.experimental.gevent.init_gevent()
install(events)
