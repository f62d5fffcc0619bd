"""Experiments on a terminal: files are read, tables and reports are drawn."""
