"""The facts of the naive model, by the name under which tests know them."""

from cli.simulation.naive.facts import *  # noqa: F403
