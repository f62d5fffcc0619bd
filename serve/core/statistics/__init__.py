"""Inference that stays valid however often one looks: confidence sequences, e-values, plans of sample size.

Pure functions of sums and counts. An e-value is given as its natural logarithm; evidence at level alpha is
reached once it is at least log(1 / alpha), at whatever look (Ville 1939). "Nothing is known" is an unbounded
interval or a log e-value of 0, never an error and never a NaN.
"""
