"""The HTTP connection: what a server may send back, and where a request may be redirected.

Bodies are counted unpacked. A redirect to another server is refused: following it would send that server everything.
"""

import zlib
from collections.abc import AsyncIterator

import httpx2

LONGEST_BODY = 4 * 2**20  #: bytes, unpacked; the longest answer, with all thoughts, takes some 100 KB
REDIRECTS = 3  #: within one server, each sends the whole request once more


class BadResponse(Exception):  # noqa: N818  # it becomes an ApiFailure
    """A response that is not read to its end. Its text is the reason; ``hint`` is what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with BadResponse after ``LONGEST_BODY`` bytes, packed or unpacked."""

    def __init__(self, packed: httpx2.AsyncByteStream, *, is_packed: bool) -> None:
        self._packed = packed
        self._unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32) if is_packed else None  # 32: gzip or zlib

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = unpacked = 0
        async for chunk in self._packed:
            received += len(chunk)
            data = self._unpack(chunk, LONGEST_BODY - unpacked + 1)
            unpacked += len(data)
            if max(received, unpacked) > LONGEST_BODY:
                raise BadResponse(f"The server's answer is longer than {LONGEST_BODY // 2**20} MB; it was not read on")
            yield data

    def _unpack(self, chunk: bytes, most: int) -> bytes:
        if self._unpacker is None:
            return chunk
        try:
            return self._unpacker.decompress(chunk, most)
        except zlib.error as error:
            raise BadResponse(f"The server's answer cannot be unpacked: {error}") from None

    async def aclose(self) -> None:
        await self._packed.aclose()


async def _guard(response: httpx2.Response) -> None:
    """Before a body is read: bound it, unpack it here, and refuse redirects to other servers."""
    if response.has_redirect_location:
        _check_redirect(response)
    packing = response.headers.pop("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip", "deflate", ""):
        raise BadResponse(f"The server packed its answer as {packing[:40]!r}, which was not asked for")
    # JSON is UTF-8. Some names of charsets are those of Python codecs that do not even give text.
    response.headers["content-type"] = "application/json"
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Bounded(response.stream, is_packed=packing not in ("identity", ""))


def _check_redirect(response: httpx2.Response) -> None:
    asked = response.request.url
    try:
        target = asked.join(response.headers["location"])
    except (httpx2.InvalidURL, ValueError):
        raise BadResponse("The server redirects to an address that is not a URL") from None
    same = (asked.scheme, asked.host, asked.port) == (target.scheme, target.host, target.port)
    to_https = (asked.scheme, asked.port, target.scheme, target.port) == ("http", None, "https", None)
    # Other statuses turn a POST into a GET.
    if response.status_code in (307, 308) and (same or (to_https and asked.host == target.host)):
        return
    shown = f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}{target.path}"
    raise BadResponse(
        f"The server redirects to {shown}; nothing was sent there",
        "If you trust that address, set OPENAI_BASE_URL, or base_url in the settings, to "
        f"{shown.removesuffix('/chat/completions')}.",
    )


def open_http(timeout_s: float) -> httpx2.AsyncClient:
    """An HTTP client with these bounds.

    Raises:
        Exception: whatever httpx raises for proxies and certificates that the environment names wrongly.
    """
    return httpx2.AsyncClient(
        timeout=timeout_s,
        headers={"Accept-Encoding": "identity"},
        follow_redirects=True,
        max_redirects=REDIRECTS,
        event_hooks={"response": [_guard]},
    )
