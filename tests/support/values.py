"""The values of the naive model, by the name under which tests know them."""

from cli.simulation.naive.values import *  # noqa: F403
