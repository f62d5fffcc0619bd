"""Experiments at work: who gets which arm, mirrored calls, what is written down, verdicts and rollbacks."""
