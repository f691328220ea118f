"""Fixtures that every test may ask for."""

from tests.support.servers import log, nats_server, postgres_server, stack

__all__ = ["log", "nats_server", "postgres_server", "stack"]
