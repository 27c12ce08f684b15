"""The sandbox over HTTP without a socket: one request in, one reply out, faults included."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from orchestrator.sandbox.answers import tokens_of
from orchestrator.sandbox.blobs import CHUNK, read_range
from orchestrator.sandbox.core import Content, Sandbox
from orchestrator.sandbox.faults import AFTER_EFFECT, Fault, Op, Struck
from orchestrator.sandbox.forms import FormReader, Readable
from orchestrator.sandbox.refusals import Refusal, invalid, unknown

BODY_BYTES = 1 << 20
"""A JSON body may hold so much."""

_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body>\r\n"
    b"<center><h1>504 Gateway Time-out</h1></center>\r\n</body>\r\n</html>\r\n"
)
_REFUSALS = {
    Fault.SERVER_ERROR: (500, "server_error", "The server had an error, please try again later"),
    Fault.SERVER_ERROR_AFTER: (500, "unexpected_output", "The server had an error"),
    Fault.UNAVAILABLE: (503, "server_unavailable", "The service is temporarily unavailable"),
    Fault.THROTTLED: (429, "rate_limit_reached_error", "Your account reached max request rate"),
    Fault.OVERLOADED: (429, "engine_overloaded_error", "The engine is currently overloaded"),
    Fault.QUOTA: (429, "exceeded_current_quota_error", "Your account has insufficient balance"),
    Fault.TOO_MANY_FILES: (400, "invalid_request_error", "Too many uploaded files"),
    Fault.UNAUTHORIZED: (401, "invalid_authentication_error", "Invalid Authentication"),
    Fault.FORBIDDEN: (403, "permission_denied_error", "The API you are accessing is not open"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request; header names are in lower case, `path` has no query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Readable


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of `length` bytes.

    `broken` means that none arrives: the connection breaks `before` the request was taken in or
    `after`. `cut`, if set, is how many bytes of the body arrive before it breaks.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()
    length: int = 0
    broken: str = ""
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """One routed request: the ids in its path and the delay of its effect in seconds."""

    sandbox: Sandbox
    request: Request
    item: str
    delay: float = 0


def respond(sandbox: Sandbox, request: Request) -> Reply:
    """Answer `request`; whatever is wrong with it stands in the reply."""
    call_id = sandbox.request_id()
    try:
        op, item = _route(request)
        sandbox.authorise(request.headers.get("authorization"))
    except Refusal as refusal:
        reply = _refused(refusal)
    else:
        reply = _with_faults(op, _Call(sandbox, request, item))
    if reply.broken != "before":
        _drain(request.body)
    headers = {"msh-request-id": call_id, "content-length": str(reply.length), **reply.headers}
    return dataclasses.replace(reply, headers=headers)


def _with_faults(op: Op, call: _Call) -> Reply:
    struck = call.sandbox.strike(op)
    if struck is None:
        return _done(op, call)
    if struck.fault is Fault.DROPPED:
        return Reply(broken="before")
    if struck.fault is Fault.LATE:
        _done(op, dataclasses.replace(call, delay=struck.seconds))
        return Reply(broken="after")
    reply = _done(op, call) if struck.fault in AFTER_EFFECT else Reply()
    return _spoilt(struck, reply)


def _spoilt(struck: Struck, reply: Reply) -> Reply:
    match struck.fault:
        case Fault.ANSWER_LOST:
            return Reply(broken="after")
        case Fault.EMPTY:
            return Reply()
        case Fault.TRUNCATED:
            return dataclasses.replace(reply, cut=reply.length // 2)
        case Fault.GATEWAY_TIMEOUT | Fault.GATEWAY_TIMEOUT_AFTER:
            return _whole(504, "text/html", _GATEWAY_PAGE)
        case fault:
            refused = _refused(Refusal(*_REFUSALS[fault]))
    if struck.fault is Fault.THROTTLED:
        headers = {**refused.headers, "retry-after": str(int(struck.seconds))}
        return dataclasses.replace(refused, headers=headers)
    return refused


def _done(op: Op, call: _Call) -> Reply:
    try:
        return _HANDLERS[op](call)
    except Refusal as refusal:
        return _refused(refusal)


def _route(request: Request) -> tuple[Op, str]:
    path = request.path.rstrip("/")
    matches = [(ways, match) for shape, ways in _ROUTES if (match := shape.fullmatch(path))]
    if not matches:
        raise unknown("path", request.path)
    ways, match = matches[0]
    if request.method not in ways:
        raise Refusal(
            405, "invalid_request_error", f"{request.method} is not allowed on {request.path}"
        )
    if path.startswith("/v1/files") and request.headers.get("kimi-api-version"):
        raise invalid("kimi-api-version is not one of the dialects of this sandbox; leave it out")
    return ways[request.method], match.group(1) if match.groups() else ""


def _upload(call: _Call) -> Reply:
    sandbox, request = call.sandbox, call.request
    blob = sandbox.blobs.writer()
    try:
        kind = request.headers.get("content-type", "")
        form = FormReader(kind, blob, sandbox.temper.limits.max_file_bytes).read(request.body)
        if form.file_name is None or "purpose" not in form.fields:
            raise invalid("the form must have the parts file and purpose")
        name, purpose = form.file_name, form.fields["purpose"]
        return _json(sandbox.upload(name, purpose, blob, delay=call.delay))
    finally:
        blob.discard()


def _list_files(call: _Call) -> Reply:
    query = call.request.query
    size = query.get("page_size")
    number = None if size is None else _integer("page_size", size)
    return _json(call.sandbox.list_files(number, query.get("page_token")))


def _content(call: _Call) -> Reply:
    content = call.sandbox.content(call.item)
    asked = call.request.headers.get("range")
    if asked and call.sandbox.temper.quirks.ranges:
        return _part(call.sandbox, content, asked)
    body = read_range(call.sandbox.blobs, content.key, 0, content.size)
    return Reply(200, {"content-type": "text/plain; charset=utf-8"}, body, content.size)


def _part(sandbox: Sandbox, content: Content, asked: str) -> Reply:
    match = _RANGE.fullmatch(asked)
    start = int(match.group(1)) if match else content.size
    if start >= content.size:
        headers = {"content-range": f"bytes */{content.size}"}
        refused = _refused(Refusal(416, "invalid_request_error", f"can't serve range {asked}"))
        return dataclasses.replace(refused, headers={**refused.headers, **headers})
    last = match.group(2) if match else ""
    end = min(content.size, int(last) + 1) if last else content.size
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "content-range": f"bytes {start}-{end - 1}/{content.size}",
    }
    body = read_range(sandbox.blobs, content.key, start, end)
    return Reply(206, headers, body, max(0, end - start))


def _create(call: _Call) -> Reply:
    return _json(call.sandbox.create(_small_body(call.request), delay=call.delay))


def _list(call: _Call) -> Reply:
    query = call.request.query
    limit = _integer("limit", query.get("limit", "20"))
    return _json(call.sandbox.list_batches(query.get("after"), limit))


def _estimate(call: _Call) -> Reply:
    try:
        prompt = _PROMPT.decode(_small_body(call.request))
    except msgspec.DecodeError as exc:
        raise invalid(f"invalid request body: {exc}") from exc
    return _json({"data": {"total_tokens": tokens_of(len(prompt.messages))}})


def _small_body(request: Request) -> bytes:
    chunks, size = [], 0
    while chunk := request.body.read(CHUNK):
        size += len(chunk)
        if size > BODY_BYTES:
            raise invalid(f"the request body exceeds {BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _drain(body: Readable) -> None:
    while body.read(CHUNK):
        pass


def _integer(word: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise invalid(f"{word} must be an integer, got {text!r}") from None


def _json(body: object) -> Reply:
    return _whole(200, "application/json; charset=utf-8", msgspec.json.encode(body))


def _refused(refusal: Refusal) -> Reply:
    body = msgspec.json.encode(refusal.body())
    return _whole(refusal.status, "application/json; charset=utf-8", body)


def _whole(status: int, kind: str, body: bytes) -> Reply:
    return Reply(status, {"content-type": kind}, (body,), len(body))


class _Prompt(msgspec.Struct):
    model: str
    messages: msgspec.Raw


_PROMPT = msgspec.json.Decoder(_Prompt)
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Op]], ...] = (
    (re.compile("/v1/files"), {"POST": "upload", "GET": "list_files"}),
    (re.compile("/v1/files/([^/]+)"), {"GET": "file", "DELETE": "delete"}),
    (re.compile("/v1/files/([^/]+)/content"), {"GET": "content"}),
    (re.compile("/v1/batches"), {"POST": "create", "GET": "list"}),
    (re.compile("/v1/batches/([^/]+)"), {"GET": "retrieve"}),
    (re.compile("/v1/batches/([^/]+)/cancel"), {"POST": "cancel"}),
    (re.compile("/v1/models"), {"GET": "models"}),
    (re.compile("/v1/users/me/balance"), {"GET": "balance"}),
    (re.compile("/v1/tokenizers/estimate-token-count"), {"POST": "estimate"}),
)
_HANDLERS: Mapping[Op, Callable[[_Call], Reply]] = {
    "upload": _upload,
    "list_files": _list_files,
    "file": lambda call: _json(call.sandbox.file(call.item)),
    "content": _content,
    "delete": lambda call: _json(call.sandbox.delete(call.item, delay=call.delay)),
    "create": _create,
    "list": _list,
    "retrieve": lambda call: _json(call.sandbox.retrieve(call.item)),
    "cancel": lambda call: _json(call.sandbox.cancel(call.item, delay=call.delay)),
    "models": lambda call: _json(call.sandbox.models()),
    "balance": lambda call: _json(call.sandbox.balance()),
    "estimate": _estimate,
}
