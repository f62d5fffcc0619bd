"""Weights trained anywhere, into the zoo's nets: read a file, recognise its layout, fit the net, fill it."""
