"""The gateway: Open Inference Protocol in front, TorchServe behind; it never imports torch."""

import os

# gRPC prepares for forks of a process that goes on using it and says so on standard error; we only ever
# fork to become another program, which needs no preparation.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
