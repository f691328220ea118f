"""Refusals at the gRPC door carry their status; what is not protobuf is the caller's fault."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from muster.identity.v1 import service_pb2, service_pb2_grpc
from services.chassis import errors
from services.chassis.grpc_server import GrpcServer

NAME = "muster.identity.v1.IdentityService"


class Servicer(service_pb2_grpc.IdentityServiceServicer):
    """Raises what the request's token names."""

    async def ResolveProfile(self, request: service_pb2.ResolveProfileRequest, _: object) -> object:
        match request.at_least:
            case "invalid":
                raise errors.InvalidRequest([("profile.ref", "name a profile")])
            case "overloaded":
                raise errors.Overloaded("the log is full", retry_s=2)
            case "defect":
                raise ZeroDivisionError
        return service_pb2.ResolveProfileResponse(profile_id="p_1")


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = GrpcServer("127.0.0.1", 0)
    server.add(Servicer(), service_pb2_grpc.add_IdentityServiceServicer_to_server, NAME)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop(0)


async def refusal(channel: grpc.aio.Channel, at_least: str) -> grpc.aio.AioRpcError:
    stub = service_pb2_grpc.IdentityServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ResolveProfile(service_pb2.ResolveProfileRequest(at_least=at_least))
    return caught.value


async def test_a_wrong_request_names_the_field(channel: grpc.aio.Channel) -> None:
    error = await refusal(channel, "invalid")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert bad.field_violations[0].field == "profile.ref"


async def test_an_overload_says_when_to_come_again(channel: grpc.aio.Channel) -> None:
    error = await refusal(channel, "overloaded")
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert retry.retry_delay.seconds == 2


async def test_a_defect_does_not_leak(channel: grpc.aio.Channel) -> None:
    error = await refusal(channel, "defect")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "ZeroDivision" not in (error.details() or "")


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x02\xed\xa0", b"\x0a\xff\x01"])
async def test_bytes_that_are_no_request_are_an_invalid_argument(
    channel: grpc.aio.Channel, body: bytes
) -> None:
    call = channel.unary_unary(f"/{NAME}/ResolveProfile")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(body)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    answer = await service_pb2_grpc.IdentityServiceStub(channel).ResolveProfile(
        service_pb2.ResolveProfileRequest()
    )
    assert answer.profile_id == "p_1"
