"""`python -m loadtests`."""

from loadtests.running.command import app
from loadtests.stack import end_in_order

if __name__ == "__main__":
    end_in_order()
    app()
