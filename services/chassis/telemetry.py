"""Logs and metrics: JSON lines with low-cardinality fields, never a personal value."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

Figure = tuple[str, str, Callable[[], float]]
"""Name, help text and the reader of one figure; names ending in _total are counters."""


def configure_logs(service: str, level: str) -> structlog.stdlib.BoundLogger:
    """One JSON line per record on stderr (readable text on a terminal)."""
    logging.basicConfig(level=level, stream=sys.stderr, format="%(message)s")
    for noisy in ("nats", "faststream", "asyncio", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    renderer = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log: structlog.stdlib.BoundLogger = structlog.get_logger().bind(service=service)
    return log


class Figures(Collector):
    """Reads figures when asked for them, so that the hot path only counts."""

    def __init__(self) -> None:
        self._figures: list[Figure] = []

    def add(self, name: str, text: str, read: Callable[[], float]) -> None:
        """`name` in snake case with its unit, such as muster_steps_total."""
        self._figures.append((name, text, read))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, text, read in self._figures:
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, text, value=read())


def serve_metrics(host: str, port: int, figures: Figures) -> tuple[WSGIServer, int]:
    """Serves /metrics; returns the server and its port (0 asks for a free one)."""
    REGISTRY.register(figures)
    try:
        server, _ = start_http_server(port, addr=host)
    except OSError as error:
        taken = f"{host}:{port} is taken; set MUSTER_METRICS_PORT to a free port"
        raise OSError(taken) from error
    return server, int(server.server_port)
