"""An experiment's report as one static HTML file: `python -m serve.reporting < report.json > report.html`.

A program of its own, because drawing takes a second of processor time and about 80 MB of plotting library,
which the gateway's loop and memory are spared. `serve.reporting.render` starts it.
"""
