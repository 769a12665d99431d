"""`Idempotency-Key`: a retry gets the first one's answer, and nothing is drawn twice.

Kept in the store, so a retry may come to another gateway, and while the first still runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.errors import Failed
from gateway.jobs.store import Store

LEASE_SECONDS = 10.0
LOOK_SECONDS = 0.1
LONGEST_KEY = 255
REPLAYED = (b"idempotency-replayed", b"true")


@dataclass
class Answer:
    """to: the digest of its request; status 0: not there yet."""

    to: str
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    @property
    def is_lasting(self) -> bool:
        """Whether a retry would get the same: it may well do better where this was our fault."""
        return self.whole and self.status < 500 and self.status not in (408, 429, 499)

    def as_bytes(self) -> bytes:
        headers = [[part.decode("latin-1") for part in header] for header in self.headers]
        return json.dumps([self.to, self.status, headers]).encode() + b"\n" + self.body

    @classmethod
    def from_bytes(cls, kept: bytes) -> Answer:
        head, _, body = kept.partition(b"\n")
        to, status, headers = json.loads(head)
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return cls(to, status, pairs, bytearray(body))

    def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body")

    async def send(self, send: Send) -> None:
        headers = [*self.headers, REPLAYED]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(self.body)})


class Idempotency:
    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        key = headers.get("idempotency-key")
        if key is None or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        if not 1 <= len(key) <= LONGEST_KEY:
            limit = f"1 to {LONGEST_KEY}"
            raise Failed(400, f"Idempotency-Key: got {len(key)} characters, expected {limit}")
        body = await _read(receive)
        digest = _digest(body, headers.get("content-type", ""))
        told = "\n".join((scope["state"].get("caller", ""), scope["path"], key))
        name = f"answer:{hashlib.sha256(told.encode()).hexdigest()}"
        store = scope["app"].state.house.store
        if known := await _known(store, name, Answer(digest)):
            return await known.send(send)
        claim = Claim(store, name, Answer(digest), self._seconds)
        return await claim.answer(self._app, scope, _again(body, receive), send)


async def _known(store: Store, name: str, mine: Answer) -> Answer | None:
    """None makes it ours to answer."""
    while not await store.add(name, mine.as_bytes(), LEASE_SECONDS):
        kept = await store.get(name)
        other = kept and Answer.from_bytes(kept)
        if not other:
            continue
        if other.to != mine.to:
            message = "this Idempotency-Key was used with another body"
            raise Failed(422, message, code="idempotency_key_reused")
        if other.status:
            return other
        await asyncio.sleep(LOOK_SECONDS)
    return None


@dataclass
class Claim:
    """The first request with a key, at work."""

    store: Store
    name: str
    given: Answer
    seconds: float

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            self.given.take(message)
            if self.given.is_lasting:  # before the client has all of it, and may ask again
                keeping.cancel()
                await asyncio.wait({keeping})
                await self.store.put(self.name, self.given.as_bytes(), self.seconds)
            await send(message)

        keeping = asyncio.create_task(self._keep(self.given.as_bytes()))
        try:
            await app(scope, receive, tell)
        finally:
            keeping.cancel()
            if not self.given.is_lasting:
                await self.store.remove(self.name)

    async def _keep(self, claim: bytes) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self.store.put(self.name, claim, LEASE_SECONDS)


async def _read(receive: Receive) -> bytes:
    body, message = bytearray(), await receive()
    while message["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()
    raise Failed(499, "the client left")


def _again(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def messages() -> Message:
        return first.pop() if first else await receive()

    return messages


def _digest(body: bytes, content_type: str) -> str:
    """Each try of a multipart form draws a boundary of its own."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    text = body.replace(boundary, b"") if boundary else body
    return hashlib.sha256(text).hexdigest()
