"""HTTP/1.1 connections with limits on their number, on their sizes and on their duration.

uvicorn's httptools protocol has none: it waits without end for the rest of a head, for the rest of
a body after the response, and for a client to read. It also accepts what RFC 9112 forbids.
"""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus
from typing import Any

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.connections.limits import ConnectionLimits, ConnectionSlot
from gateway.connections.request_head import (
    HEAD_BYTES,
    BadRequest,
    check_head,
    head_too_long,
    header_size,
)
from gateway.errors import error_document

HEAD_SECONDS = 15.0  # for a request's head, from its first byte or from the connection's start
LINGER_SECONDS = 2.0  # between an early response and the end of its connection
LINGER_BYTES = 32_000_000  # read in that time
FRAMING_BYTES = 1_000_000  # of one body: sizes and extensions of its chunks
MAX_PIPELINED = 8  # requests that wait for the response to an earlier one
CLOSE = (b"connection", b"close")


def protocol_within(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol class of one server; uvicorn creates an instance for each connection."""
    return type("LimitedProtocol", (BoundedProtocol,), {"limits": limits})


class BoundedProtocol(HttpToolsProtocol):
    """One connection. After `_input_ended` it discards what the client sends, unparsed."""

    limits: ConnectionLimits

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._slot: ConnectionSlot | None = None
        self._active: RequestResponseCycle | None = None
        self._input_ended = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_size = 0  # bytes; of the trailers once the head is over
        self._framing = 0  # bytes of the body that are not its content
        self._discarded = 0  # bytes

    # Called by the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _abort_unread_writes(transport, self.limits.write_seconds)
        self._slot = self.limits.admit(self.client[0] if self.client else "")
        if self._slot.is_dropped:
            self._input_ended = True
            self.transport.abort()
        elif self._slot.refusal:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, self._slot.refusal)
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._head_timer, self._linger_timer):
            if timer:
                timer.cancel()
        if self._slot:
            self._slot.release()

    def data_received(self, data: bytes) -> None:
        if self._input_ended:
            return self._discard(len(data))
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_size += len(data)
            self._expect_head()
        else:
            self._framing += len(data)
        try:
            self._feed(data)
            self._check_sizes()
        except BadRequest as error:
            self._refuse(error.status, str(error))
        except httptools.HttpParserError as error:
            cause = error.__context__
            status = cause.status if isinstance(cause, BadRequest) else HTTPStatus.BAD_REQUEST
            self._refuse(status, f"no valid request: {cause or error}")
        return None

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # A server may ignore the offer (RFC 9110, section 7.8), but this parser has ended: it
            # takes the body for the other protocol.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.feed_data(self._head_without_upgrade() + data[offer.args[0] :])

    def _head_without_upgrade(self) -> bytes:
        method, target = self.scope["method"].encode(), self.url
        version = self.scope["http_version"].encode()
        lines = [b"%b %b HTTP/%b" % (method, target, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join((*lines, b"", b""))

    def _check_sizes(self) -> None:
        if self._in_head and self._head_size > HEAD_BYTES:
            raise head_too_long()
        if self._framing > FRAMING_BYTES:
            reason = f"chunk sizes and extensions take over {FRAMING_BYTES:,} bytes"
            raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)

    # Called by the parser, which passes exceptions on as the context of its own

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "too many requests ahead of responses")
        if self.cycle and not self.cycle.keep_alive:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a request after one with Connection: close")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            return super().on_header(name, value)
        self._head_size += header_size(name, value)
        if self._head_size > HEAD_BYTES:
            raise head_too_long()
        return None

    def on_headers_complete(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
        version = self.parser.get_http_version()
        check_head(version, self.url, self.headers)
        if self.parser.should_upgrade():
            self.scope["method"] = self.parser.get_method().decode()
            self.scope["http_version"] = version
            return
        super().on_headers_complete()
        self._in_head, self._head_size, self._framing = False, 0, 0

    def on_body(self, body: bytes) -> None:
        self._framing -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_head, self._head_size, self._framing = True, 0, 0
        super().on_message_complete()

    # Called for the application

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._active = cycle

        async def closing_app(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_closing(message: Message) -> None:
                is_last = cycle.more_body or (self._input_ended and cycle is self.cycle)
                closes = is_last and message["type"] == "http.response.start"
                if closes:
                    message = {**message, "headers": [*message.get("headers", []), CLOSE]}
                    self._end_input()
                await send(message)
                if closes:
                    cycle.keep_alive = True  # else uvicorn would close at once, without lingering

            await app(scope, receive, send_closing)

        super()._start_asgi_task(cycle, closing_app)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._input_ended and self.cycle.response_complete and not self.transport.is_closing():
            self._linger()

    # Ends of connections

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        self._end_input()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _end_input(self) -> None:
        """Reads no more requests. Those before still get their responses."""
        self._input_ended = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def _refuse(self, status: int, reason: str) -> None:
        """Responds to what cannot be parsed, unless a response to an earlier request is due."""
        self.logger.warning("%s: %s", self.client and self.client[0], reason)
        self._input_ended = True
        active = self._active
        if active is not None and active.response_complete:
            active = None
        if self.pipeline and self.cycle.more_body:  # the newest is wrong
            self.pipeline.popleft()
            if self.pipeline:
                self.cycle = self.pipeline[0][0]
            elif active is not None:
                self.cycle = active
        elif active is not None and active.more_body:
            active.disconnected = True
            active.message_event.set()
            active = None
        if active is None:
            self.transport.write(_error_response(status, reason))
            self._linger()
        else:
            self._end_input()

    def _linger(self) -> None:
        """Reads on for a while, then closes. Closing at once would reset the connection, and the
        client might lose its response (RFC 9112, section 9.6)."""
        if self._linger_timer or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self._close)

    def _discard(self, size: int) -> None:
        """Beyond the limit it reads no more, and the close may reset the connection."""
        self._discarded += size
        refused = self._slot is not None and bool(self._slot.refusal)
        if refused or (self._linger_timer and self._discarded > LINGER_BYTES):
            self._close()
        elif self._discarded > LINGER_BYTES:
            self.flow.pause_reading()

    def _close(self) -> None:
        """Not `close` alone: with TLS it waits up to 30 s for the client's close_notify."""
        if self.transport.get_write_buffer_size():
            self.transport.close()
        else:
            self.transport.abort()


def _abort_unread_writes(transport: asyncio.Transport, seconds: float) -> None:
    """The kernel ends a connection whose client acknowledges nothing of what was sent for that
    long, also after `close` (TCP_USER_TIMEOUT in tcp(7); on Linux only)."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = max(1, round(1000 * seconds))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _error_response(status: int, reason: str) -> bytes:
    body = json.dumps(error_document(status, reason)).encode()
    phrase = HTTPStatus(status).phrase
    head = (
        f"HTTP/1.1 {status:d} {phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
