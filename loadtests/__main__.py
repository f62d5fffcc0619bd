"""`python -m loadtests`."""

import typer

from loadtests.run import main
from loadtests.stack import end_in_order

if __name__ == "__main__":
    end_in_order()
    typer.run(main)
