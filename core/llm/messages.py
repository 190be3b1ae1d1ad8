"""What is asked of a server that speaks Chat Completions, and what it answers: plain values, no client."""

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

Json = dict[str, Any]  #: a JSON object on its way to or from the wire
PLAIN_TEXT = 2  #: steps down from json_schema: json_object, then no ``response_format`` at all
CAP = "max_completion_tokens"
OLD_CAP = "max_tokens"  #: the name of the same in servers that do not know ``CAP``


@dataclass(frozen=True)
class Dialect:
    """How a server needs a request to be written.

    Attributes:
        step: how far ``response_format`` is stepped down, up to ``PLAIN_TEXT``.
        cap_field: the name of the field that has the cap of the answer.
        greedy: whether a temperature may be sent, which newer models refuse.
    """

    step: int = 0
    cap_field: str = CAP
    greedy: bool = True


@dataclass(frozen=True)
class TextPart:
    """Words of a message."""

    text: str


@dataclass(frozen=True)
class ImagePart:
    """A picture of a message."""

    name: str  #: what it is called where it becomes a file, such as ``sample_1_crop.png``
    png: bytes  #: a lossless PNG
    width: int  #: pixels
    height: int

    @property
    def sha256(self) -> str:
        """The digest of the PNG."""
        return sha256(self.png).hexdigest()


@dataclass(frozen=True)
class ChatRequest:
    """One question.

    Attributes:
        system: the instructions; empty for none.
        parts: what the user's message holds, in order.
        schema_name, schema: of the JSON that is wanted; a strict JSON schema. None for an answer in plain words.
        max_output_tokens: the answer is cut there.
        greedy: the most likely token each time: temperature 0, where the server takes one.
        wrong_answer, complaint: an earlier answer and what was wrong with it, when it is to be corrected; else empty.
    """

    model: str
    system: str
    parts: tuple[TextPart | ImagePart, ...]
    schema_name: str
    schema: Json | None
    max_output_tokens: int
    greedy: bool = False
    wrong_answer: str = ""
    complaint: str = ""

    @property
    def images(self) -> tuple[ImagePart, ...]:
        return tuple(part for part in self.parts if isinstance(part, ImagePart))


@dataclass(frozen=True)
class ChatAnswer:
    """What came back.

    Attributes:
        finish_reason: as the server says: ``stop``, ``length``, ``content_filter``.
        refusal: why the model or a filter declines; empty if it does not.
        model: as the server names the model that answered.
        input_tokens, output_tokens: as billed; 0 where the server does not say.
    """

    text: str
    finish_reason: str
    refusal: str
    model: str
    input_tokens: int
    output_tokens: int


def request_key(request: ChatRequest, **more: object) -> str:
    """64 hexadecimal digits: SHA-256 of canonical JSON of the request and of ``more``, its ``parts`` among them.

    The key names a cached answer: after any change of it every answer is paid for again.
    """
    everything = {
        "model": request.model,
        "max_output_tokens": request.max_output_tokens,
        "schema": request.schema,
        "system": request.system,
        **more,
    }
    return sha256(json.dumps(everything, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def wire_body(request: ChatRequest, dialect: Dialect = Dialect()) -> Json:
    """The request as Chat Completions has it, pictures as data URLs."""
    messages: list[Json] = [{"role": "system", "content": request.system}] if request.system else []
    messages.append({"role": "user", "content": [_wire_part(part) for part in request.parts]})
    if request.complaint:
        messages.append({"role": "assistant", "content": request.wrong_answer})
        messages.append({"role": "user", "content": request.complaint})
    body: Json = {
        "model": request.model,
        "messages": messages,
        dialect.cap_field: request.max_output_tokens,
    }
    if request.greedy and dialect.greedy:
        body["temperature"] = 0
    if request.schema is None:
        return body
    if dialect.step == 0:
        schema = {"name": request.schema_name, "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.step < PLAIN_TEXT:
        body["response_format"] = {"type": "json_object"}
    return body


def _wire_part(part: TextPart | ImagePart) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    url = "data:image/png;base64," + base64.b64encode(part.png).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
