"""Locust's entry for users of NVIDIA's tritonclient. `python -m loadtests --client triton` runs it.

Its stubs and this project's exclude each other in a process, so these users have a locustfile of their own.
By hand, with Locust's web UI at http://127.0.0.1:8089, against a running gateway:

    locust -f loadtests/locustfile_triton.py --host http://127.0.0.1:8000
"""

from __future__ import annotations

import grpc.experimental.gevent
from locust import events

from loadtests.swarm.install import install
from loadtests.swarm.leader import Pace
from loadtests.swarm.triton_users import TritonGrpcUser, TritonHttpUser

__all__ = ["Pace", "TritonGrpcUser", "TritonHttpUser"]

# Importing locust has patched the standard library; gRPC must follow before the first channel.
grpc.experimental.gevent.init_gevent()
install(events)
