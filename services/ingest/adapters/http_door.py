"""The HTTP door: Segment's API, so that a website, an app and the existing SDKs can publish.

POST /v1/{track,identify,page,screen,group,alias,batch,import}; Basic auth with the write key as
user name, or `writeKey` in the body (sendBeacon cannot set headers, and sends text/plain). 200
means durable. 400 names what is wrong with each call; the others of the batch were stored. After
429 and 503 send the same calls again, as Retry-After says: what was stored already counts once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import math
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.chassis import clock
from services.chassis.errors import (
    InvalidRequest,
    NotAllowed,
    NotReady,
    Overloaded,
    Refusal,
    Unauthenticated,
)
from services.ingest.adapters.bulk import Placed, submit_pieces
from services.ingest.adapters.encoding import event_of
from services.ingest.domain.calls import KINDS, Received, draft_of
from services.ingest.domain.drafts import DraftFault, exact, exact_whole, instant_us
from services.ingest.handlers import Door, Submission
from services.ingest.settings import IngestSettings

CALL_BYTES_MAX = 32 << 10
REQUEST_BYTES_MAX = 500 << 10
"""Segment's limits: a single call, and a batch, unpacked."""
REST_S = 5.0
"""How long a request that is refused may still be sent."""
SHORT = {"t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
"""Endpoints that analytics.js calls by one letter."""
EVERYWHERE = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, content-encoding",
    "access-control-max-age": "86400",
}
Keys = Callable[[str, bool], str]
"""Publisher of a write key; the flag asks for the right to import. Unauthenticated, NotAllowed."""


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    """A JSON answer in ASCII: what it repeats of a request may be no Unicode."""
    return Response(json.dumps(body), status, headers, media_type="application/json")


class TooLarge(Refusal):
    """More bytes than a request may have."""


@dataclass(slots=True)
class Answer:
    """What became of the calls of one request. faults: (place, messageId, code, path, detail)."""

    stored: int = 0
    token: str = ""
    faults: list[tuple[int, str, str, str, str]] = field(default_factory=list)


class HttpDoor:
    """Takes requests apart, hands events to the door, and words its answers."""

    def __init__(self, settings: IngestSettings, door: Door, keys: Keys) -> None:
        self._tenant = settings.tenant
        self._bytes_max = settings.http_bytes_max
        self._door = door
        self._keys = keys
        self._requests_max = settings.http_requests_max
        self.bytes_held = 0
        """Of bodies in hand: what bounds the memory of this door."""
        self.requests_held = 0

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route(f"/v1/{name}", self.take, methods=["POST"], name=name)
            for name in (*KINDS, "batch", "import")
        ]
        for letter, name in SHORT.items():
            routes.append(Route(f"/v1/{letter}", self.take, methods=["POST"], name=name))
        routes.append(Route("/v1/{any:path}", _preflight, methods=["OPTIONS"]))
        return Starlette(routes=routes)

    async def take(self, request: Request) -> Response:
        """Answers one request."""
        last = request.scope["path"].rsplit("/", 1)[-1]
        name = SHORT.get(last, last)
        body = bytearray()
        self.requests_held += 1
        chunks, read = request.stream(), False
        try:
            if self.requests_held > self._requests_max:
                raise Overloaded("too many requests are in hand; nothing of this was stored", 1.0)
            await self._read(chunks, name, body)
            read = True
            tree = _tree_of(_unpacked(body, request, name))
            key = _key_of(request, tree)
            publisher = self._keys(key, name == "import")
            answer = await self._submit(publisher, name, tree)
        except ClientDisconnect:
            return Response(status_code=400)
        except Refusal as refusal:
            if not read:
                await _rest_of(chunks)
            return _refused(refusal)
        finally:
            self.bytes_held -= len(body)
            self.requests_held -= 1
        return _worded(answer)

    async def _read(self, chunks: AsyncIterator[bytes], name: str, body: bytearray) -> None:
        """Reads the body as it came into `body`, each byte of it held and counted."""
        bytes_max = _bytes_max(name)
        async for chunk in chunks:
            if len(body) + len(chunk) > bytes_max:
                raise TooLarge(f"the request holds more than {bytes_max} bytes; send less at once")
            if self.bytes_held + len(chunk) > self._bytes_max:
                raise Overloaded("too many requests are in hand; nothing of this was stored", 1.0)
            body += chunk
            self.bytes_held += len(chunk)

    async def _submit(self, publisher: str, name: str, tree: dict[str, Any]) -> Answer:
        is_history = name == "import"
        calls = [tree]
        if name in ("batch", "import"):
            if not isinstance(tree.get("batch"), list) or not tree["batch"]:
                raise InvalidRequest([("batch", "must be a list with at least one call")])
            calls = tree["batch"]
        try:
            sent_us = instant_us("sentAt", tree["sentAt"]) if tree.get("sentAt") else None
        except DraftFault as fault:
            raise InvalidRequest([(fault.path, fault.detail)]) from None
        received = Received(clock.wall_us(), sent_us, is_history)
        answer = Answer()
        raws: list[Placed] = []
        for place, call in enumerate(calls):
            try:
                kind = name if name in KINDS else ""
                event = event_of(draft_of(kind, call, received, clock.new_id))
                raws.append(Placed(place, event.SerializeToString()))
            except DraftFault as fault:
                message_id = _message_id(call)
                answer.faults.append((place, message_id, fault.code, fault.path, fault.detail))
        import_id = f"segment-{publisher}" if is_history else ""
        done = await submit_pieces(
            self._door, Submission(self._tenant, publisher, [], import_id), raws
        )
        for item in done.refused or ():
            answer.faults.append((item.index, item.event_id, item.code, "", item.detail))
        answer.stored = done.stored
        answer.token = done.position.token if done.position is not None else ""
        answer.faults.sort()
        return answer


def _message_id(call: object) -> str:
    return str(call.get("messageId", "")) if isinstance(call, dict) else ""


async def _rest_of(chunks: AsyncIterator[bytes]) -> None:
    """Lets go by what is still being sent: who is cut off while sending never reads the answer."""
    size = 0
    with contextlib.suppress(ClientDisconnect, TimeoutError):
        async with asyncio.timeout(REST_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > REQUEST_BYTES_MAX:
                    break


async def _preflight(_: Request) -> Response:
    return Response(status_code=204, headers=EVERYWHERE)


def _bytes_max(name: str) -> int:
    return CALL_BYTES_MAX if name in KINDS else REQUEST_BYTES_MAX


def _unpacked(packed: bytearray, request: Request, name: str) -> bytes:
    """The body itself; TooLarge beyond the limit, however well it was packed."""
    bytes_max = _bytes_max(name)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return bytes(packed)
    if encoding != "gzip":
        raise InvalidRequest([("Content-Encoding", "must be gzip or identity")])
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(bytes(packed), bytes_max + 1)
    except zlib.error:
        raise InvalidRequest([("", "the body is not gzip")]) from None
    if len(body) > bytes_max:
        raise TooLarge(f"the request holds more than {bytes_max} bytes unpacked; send less at once")
    if not unpacker.eof:
        raise InvalidRequest([("", "the body is not gzip: its end is missing")])
    return body


def _tree_of(body: bytes) -> dict[str, Any]:
    try:
        # A number means its digits, not the double nearest to them; one that is none spoils its
        # own call, not the request.
        tree = json.loads(body, parse_float=exact, parse_int=exact_whole, parse_constant=exact)
    except (ValueError, RecursionError) as wrong:
        raise InvalidRequest([("", f"the body is not JSON: {wrong}")]) from None
    if not isinstance(tree, dict):
        raise InvalidRequest([("", "the body must be a JSON object")])
    return tree


def _key_of(request: Request, tree: dict[str, Any]) -> str:
    """The write key: of the Authorization header, else of the body."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            raise Unauthenticated("the Authorization header is not Basic auth") from None
    if scheme.lower() == "bearer":
        return credentials.strip()
    key = tree.get("writeKey")
    return key if isinstance(key, str) else ""


def _worded(answer: Answer) -> Response:
    body: dict[str, Any] = {
        "success": not answer.faults,
        "stored": answer.stored,
        "position": answer.token,
    }
    if answer.faults:
        names = ("index", "messageId", "code", "path", "message")
        body |= {
            "code": "invalid_calls",
            "message": f"{len(answer.faults)} calls were refused; items says why",
            "items": [dict(zip(names, fault, strict=True)) for fault in answer.faults],
        }
    return _json(body, 400 if answer.faults else 200, EVERYWHERE)


def _refused(refusal: Refusal) -> Response:
    status, code = 400, "invalid_request"
    headers = dict(EVERYWHERE)
    if isinstance(refusal, TooLarge):
        status, code = 413, "too_large"
    elif isinstance(refusal, Unauthenticated):
        status, code = 401, "unauthenticated"
        headers["www-authenticate"] = 'Basic realm="muster"'
    elif isinstance(refusal, NotAllowed):
        status, code = 403, "not_allowed"
    elif isinstance(refusal, NotReady):
        status, code = (
            (429, "overloaded") if isinstance(refusal, Overloaded) else (503, "not_ready")
        )
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_s)))
    body = {"success": False, "code": code, "message": str(refusal)}
    return _json(body, status, headers)
