"""A design to begin with."""

EXAMPLE = """\
# Which of two attentions is better on the demo's digits?
#   attnserve experiment create THIS-FILE --start --reason "ECA has fewer parameters; is it as good?"
# Called like a model: clients send their images to the name below (or to an alias of it).
name: digits-se-vs-eca
mode: paired                  # split: one arm an answer | shadow | paired: all arms see the same images
arms:                         # the first is the control, whose answers callers get; weights are in 1/10 000
  - {name: se, model: digits_se, version: "1", weight: 5000}
  - {name: eca, model: digits_eca, version: "1", weight: 5000}
ramp: 10000                   # share of the units that take part, in 1/10 000; `ramp NAME 25%` changes it
primary_metric: accuracy      # accuracy | agreement | latency_p50 | latency_p99 | error_rate
alpha: 0.05                   # chance of a false verdict, however often one looks
margin: 0.01                  # smallest difference worth acting on
planned_units: 10000          # for which the intervals are narrowest
guardrails:                   # the experiment is rolled back by itself when one is broken
  - {metric: error_rate, max_ratio: 1.5, alpha: 0.01}
  - {metric: slo_exceedance, threshold_ms: 200, max_ratio: 1.5, alpha: 0.01}
# keep_images: {max_images: 100, days: 7}   # of disagreements, for whoever labels them
# alias: production           # a stable name: this experiment while it runs, the winner afterwards
# `attnserve serve` has http://127.0.0.1:8000/docs, where every key is explained.
"""
