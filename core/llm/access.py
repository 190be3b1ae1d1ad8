"""Which server is asked, and with which key. The key is read when it is needed and is kept nowhere."""

import os
from urllib.parse import urlsplit

from vlmscope.core.base.config import Api, GivenServer
from vlmscope.core.base.errors import UsageError

OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
BASE_URL = "OPENAI_BASE_URL"
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")  #: variables read when a connection is set up
PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")  #: the same
PLACEHOLDER = "no-key"  #: the client wants one; servers without keys ignore it
SECRET_LENGTH = 12  #: shorter ones are placeholders such as "EMPTY" or "x": cutting those out would garble answers


def base_url(settings: Api) -> str:
    """Where requests go: the server that the command line names, else ``OPENAI_BASE_URL``, else the settings' server,
    else OpenAI's.

    Raises:
        UsageError: if that is not a URL.
    """
    given = isinstance(settings, GivenServer)
    named = "" if given else os.environ.get(BASE_URL, "").strip()
    url = named or settings.base_url.strip() or OPENAI
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isascii() and url.isprintable()
    except ValueError:
        right = False
    if not right:
        where = "The server's address" if given else BASE_URL if named else "base_url in the settings"
        # Its value is not repeated: a key may have been put there by mistake.
        raise UsageError(f"{where} is not a URL.", f"Write it as {OPENAI}.")
    return url.rstrip("/")


def host(settings: Api) -> str:
    """The server's name and port; a user and a password in its URL are left out. Raises as ``base_url``."""
    return urlsplit(base_url(settings)).netloc.rpartition("@")[2]


def shown_url(settings: Api) -> str:
    """``base_url`` without a user and a password."""
    parts = urlsplit(base_url(settings))
    return f"{parts.scheme}://{host(settings)}{parts.path}"


def asked_url(settings: Api) -> str:
    """The address of the requests, without a user, a password and a query."""
    return f"{shown_url(settings).rstrip('/')}/chat/completions"


def api_key() -> str:
    """The key, or an empty string."""
    return os.environ.get(KEY, "").strip()


def key_problem(settings: Api) -> str:
    """Why no request can be sent, or an empty string. OpenAI's own server needs a key, others may not."""
    try:
        url = base_url(settings)
    except UsageError as error:
        return str(error).replace("\n", " ")
    key = api_key()
    host, openai = urlsplit(url).hostname or "", urlsplit(OPENAI).hostname
    if not key and (host == openai or host.endswith(f".{openai}")):
        return f"{KEY} is not set. Set it to your key, or {BASE_URL} to another server that speaks Chat Completions."
    if not (key.isascii() and key.isprintable()):
        return f"{KEY} holds characters that no key has. Set it again."
    return ""


def redacted(text: str) -> str:
    """``text`` without the key."""
    key = api_key()
    return text.replace(key, "[key]") if len(key) >= SECRET_LENGTH else text


def environment_hint(error: Exception) -> str:
    """What to do about a client that cannot be set up; values of variables may hold passwords and are left out."""
    socks = "socks" in str(error).lower()
    if isinstance(error, ImportError) and not socks:
        return "Install vlmscope with its dependencies again."
    names = CERTIFICATES if isinstance(error, OSError) else PROXIES
    named = [name for name in names if os.environ.get(name) or os.environ.get(name.lower())]
    hint = f"Correct or unset {', '.join(named or names)} in the environment"
    return f"{hint}, or install the package socksio." if socks else f"{hint}."
