"""`Idempotency-Key`: a retry gets the response of the first request, and nothing is drawn twice.

Responses are in the store, so that a retry may go to another gateway. A retry that comes while the
first request still runs waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import ApiError
from gateway.jobs.store import Store

LEASE_SECONDS = 10.0
POLL_SECONDS = 0.1
MAX_KEY_LENGTH = 255
REPLAYED_HEADER = (b"idempotency-replayed", b"true")


@dataclass
class StoredResponse:
    """A response as the store has it. request_digest: of its request; status: 0 while it runs."""

    request_digest: str
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether to keep it. An error of the server is not kept: a retry may succeed."""
        return self.complete and self.status < 500 and self.status not in (408, 429, 499)

    def as_bytes(self) -> bytes:
        headers = [[part.decode("latin-1") for part in header] for header in self.headers]
        return json.dumps([self.request_digest, self.status, headers]).encode() + b"\n" + self.body

    @classmethod
    def from_bytes(cls, stored: bytes) -> StoredResponse:
        head, _, body = stored.partition(b"\n")
        request_digest, status, headers = json.loads(head)
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return cls(request_digest, status, pairs, bytearray(body))

    def append(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        else:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body")

    async def send(self, send: Send) -> None:
        headers = [*self.headers, REPLAYED_HEADER]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body)})


class Idempotency:
    """seconds: how long a response is kept.

    Raises ApiError: 400 for a key of the wrong length, 422 for one that was used with another body.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get("idempotency-key")
        if key is None or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        if not 1 <= len(key) <= MAX_KEY_LENGTH:
            limit = f"1 to {MAX_KEY_LENGTH}"
            raise ApiError(400, f"Idempotency-Key: got {len(key)} characters, expected {limit}")
        body = await _read_body(receive)
        digest = _digest(body, headers.get("content-type", ""))
        identity = "\n".join((scope["state"].get("caller", ""), scope["path"], key))
        name = f"answer:{hashlib.sha256(identity.encode()).hexdigest()}"
        store = scope["app"].state.dependencies.store
        if stored := await _stored_response(store, name, StoredResponse(digest)):
            return await stored.send(send)
        claim = Claim(store, name, StoredResponse(digest), self._seconds)
        return await claim.run(self._app, scope, _replay(body, receive), send)


async def _stored_response(store: Store, name: str, own: StoredResponse) -> StoredResponse | None:
    """The response of an earlier request with the key, or None once `own` has claimed the key."""
    while not await store.add(name, own.as_bytes(), LEASE_SECONDS):
        stored = await store.get(name)
        other = stored and StoredResponse.from_bytes(stored)
        if not other:
            continue
        if other.request_digest != own.request_digest:
            message = "this Idempotency-Key was used with another body"
            raise ApiError(422, message, code="idempotency_key_reused")
        if other.status:
            return other
        await asyncio.sleep(POLL_SECONDS)
    return None


@dataclass
class Claim:
    """The first request with a key, while it runs. Its lease on the key is renewed."""

    store: Store
    name: str
    response: StoredResponse
    seconds: float

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_store(message: Message) -> None:
            self.response.append(message)
            if self.response.is_lasting:  # stored before the client has it all and may retry
                renewing.cancel()
                await asyncio.wait({renewing})
                await self.store.put(self.name, self.response.as_bytes(), self.seconds)
            await send(message)

        renewing = asyncio.create_task(self._renew(self.response.as_bytes()))
        try:
            await app(scope, receive, send_and_store)
        finally:
            renewing.cancel()
            if not self.response.is_lasting:
                await self.store.remove(self.name)

    async def _renew(self, claim: bytes) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self.store.put(self.name, claim, LEASE_SECONDS)


async def _read_body(receive: Receive) -> bytes:
    body, message = bytearray(), await receive()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise ApiError(499, "the client left")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body again, and then what follows it."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def messages() -> Message:
        return first.pop() if first else await receive()

    return messages


def _digest(body: bytes, content_type: str) -> str:
    """The boundary of a multipart form is left out: each retry has another one."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    text = body.replace(boundary, b"") if boundary else body
    return hashlib.sha256(text).hexdigest()
