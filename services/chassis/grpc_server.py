"""The gRPC server of a process: health, reflection, and refusals as google.rpc errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from services.chassis import errors

MESSAGE_BYTES_MAX = 4 << 20
CALLS_MAX = 1_000
DOMAIN = "muster.dev"
log = structlog.get_logger()

_CODES: list[tuple[type[errors.Refusal], int, str]] = [
    (errors.InvalidRequest, code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (errors.NotFound, code_pb2.NOT_FOUND, "NOT_FOUND"),
    (errors.Conflict, code_pb2.ABORTED, "CONFLICT"),
    (errors.Precondition, code_pb2.FAILED_PRECONDITION, "PRECONDITION"),
    (errors.Unauthenticated, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (errors.NotAllowed, code_pb2.PERMISSION_DENIED, "NOT_ALLOWED"),
    (errors.OutOfRange, code_pb2.OUT_OF_RANGE, "OUT_OF_RANGE"),
    (errors.Overloaded, code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED"),
    (errors.NotReady, code_pb2.UNAVAILABLE, "NOT_READY"),
]


def status_of(error: errors.Refusal) -> status_pb2.Status:
    """A refusal as google.rpc.Status: ErrorInfo and, where they apply, BadRequest or RetryInfo."""
    code, reason = code_pb2.FAILED_PRECONDITION, "REFUSED"
    for kind, number, name in _CODES:
        if isinstance(error, kind):
            code, reason = number, name
            break
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)]
    if isinstance(error, errors.InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation
        faults = [violation(field=path, description=text) for path, text in error.faults]
        details.append(error_details_pb2.BadRequest(field_violations=faults))
    if isinstance(error, errors.NotReady):
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_s * 1_000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code, message=str(error))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class _Refusals(grpc.aio.ServerInterceptor):
    """Answers refusals with their status; a defect is logged and answered INTERNAL."""

    async def intercept_service(
        self, proceed: Callable[[Any], Awaitable[Any]], details: Any
    ) -> grpc.RpcMethodHandler:
        handler = await proceed(details)
        if handler is None or details.method.startswith("/grpc."):
            return handler
        read = _forgiving(handler.request_deserializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guarded(handler.unary_unary, details.method), read, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                _guarded_stream(handler.unary_stream, details.method),
                read,
                handler.response_serializer,
            )
        # Of a stream of requests each service reads the items itself, and says what is malformed.
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(
                _guarded(handler.stream_unary, details.method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _guarded_stream(handler.stream_stream, details.method),
            handler.request_deserializer,
            handler.response_serializer,
        )


class _Malformed:
    """Stands for a request that protobuf could not read."""

    refusal = errors.InvalidRequest(
        [("", "not a request of this method: malformed protobuf, invalid UTF-8 or nested too deep")]
    )


def _forgiving(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The deserializer, answering what it cannot read instead of raising INTERNAL."""

    def call(body: bytes) -> Any:
        try:
            return read(body)
        except DecodeError:
            return _Malformed()

    return call


def _guarded(serve: Callable[..., Any], method: str) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            if isinstance(request, _Malformed):
                raise request.refusal
            return await serve(request, context)
        except Exception as error:
            await _answer(error, method, context)

    return call


def _guarded_stream(serve: Callable[..., Any], method: str) -> Callable[..., AsyncIterator[Any]]:
    async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            if isinstance(request, _Malformed):
                raise request.refusal
            async for answer in serve(request, context):
                yield answer
        except Exception as error:
            await _answer(error, method, context)

    return call


async def _answer(error: Exception, method: str, context: grpc.aio.ServicerContext) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, errors.Refusal):
        await context.abort_with_status(rpc_status.to_status(status_of(error)))
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        invalid = errors.InvalidRequest([("", str(error))])
        await context.abort_with_status(rpc_status.to_status(status_of(invalid)))
    log.error("a call failed", method=method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "a defect on our side; it is in the log")


class GrpcServer:
    """Servicers, health and reflection on one port."""

    def __init__(self, host: str, port: int) -> None:
        self._server = grpc.aio.server(
            interceptors=[_Refusals()],
            maximum_concurrent_rpcs=CALLS_MAX,
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", 4 * MESSAGE_BYTES_MAX),
                ("grpc.max_connection_age_ms", 600_000),
                ("grpc.max_connection_age_grace_ms", 60_000),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._names = [reflection.SERVICE_NAME, health.SERVICE_NAME]
        taken = f"{host}:{port} is taken; set MUSTER_GRPC_PORT to a free port"
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            raise OSError(taken) from error
        if self.port == 0:
            raise OSError(taken)

    def add(self, servicer: Any, adder: Callable[[Any, Any], None], name: str) -> None:
        """Serves `servicer` under its full name, such as muster.ingest.v1.IngestService."""
        adder(servicer, self._server)
        self._names.append(name)

    async def start(self) -> None:
        reflection.enable_server_reflection(self._names, self._server)
        await self.show(live=True, ready=False)
        await self._server.start()

    async def show(self, *, live: bool, ready: bool) -> None:
        """Health: `` and `liveness` say that the process works, `readiness` and every service
        that it can answer."""
        status = health_pb2.HealthCheckResponse.ServingStatus
        for name in ("", "liveness"):
            await self._health.set(name, status.SERVING if live else status.NOT_SERVING)
        for name in ("readiness", *self._names):
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)
