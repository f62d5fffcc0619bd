"""Engines: what can run a batch (the port, TorchServe, and a deterministic fake)."""
