"""Floor 0: pure rules and values; no I/O, no clock, no logging, no gRPC, no torch."""
