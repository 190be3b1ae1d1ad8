"""A server that speaks Chat Completions describes the images that have no description (method.md, "Samples").

Several images are asked about at once. Each description is on disk before its sample counts as described, under the
SHA-256 of the image file and the name that the server has for the model. So a stopped run continues where it was, with
the same server or another one.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from vlmscope.core.base.batch import run_batch
from vlmscope.core.base.callbacks import OnProgress, Stopped, check, not_cancelled
from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import (
    ApiError,
    BudgetReached,
    Cancelled,
    NoResponse,
    SamplesError,
    StopRun,
    VlmscopeError,
)
from vlmscope.core.base.text import counted
from vlmscope.core.data.describing import undescribed
from vlmscope.core.data.description_cache import DescriptionCache, Descriptions
from vlmscope.core.data.images import load_image, png
from vlmscope.core.data.samples import Data
from vlmscope.core.llm.access import host
from vlmscope.core.llm.budget import Estimate, Ledger, estimate_request, estimate_texts, total
from vlmscope.core.llm.client import Chat
from vlmscope.core.llm.messages import ChatRequest, ImagePart, TextPart
from vlmscope.core.llm.prices import price_of
from vlmscope.core.model.vlm import DESCRIPTION_TOKENS
from vlmscope.core.scan.descriptions import DESCRIBING, STOPPED, file_digest, written_before

SIDE = 2048  #: pixels of a picture's longer side as it is sent, at most
AT_ONCE = (
    32  #: pictures that a server without a price is asked about at the same time; a priced one: as the settings say
)
IN_A_ROW = 8  #: pictures without an answer, one after another, that end the run
LOOK_S = 0.1  #: how often a stop is looked for
CONTINUES = "Descriptions that were written are kept; the same command continues from there."


@dataclass(frozen=True)
class Served:
    """What a server made of the data.

    Attributes:
        data: with its descriptions; a sample that it gave none has the reason as its trouble.
        cut: how many answers it cut off before the longest description.
    """

    data: Data
    cut: int = 0


def describe_cost(data: Data, question: str, settings: Api) -> Estimate:
    """What it costs at most to describe all that has no description; none of it may be in the cache."""
    one = estimate_texts([question], 1, settings.model, DESCRIPTION_TOKENS, settings)
    return total([one] * len(undescribed(data, None)))


def describe_by_server(
    settings: Api,
    data: Data,
    question: str,
    progress: OnProgress,
    stopped: Stopped = not_cancelled,
    cache: DescriptionCache | None = None,
    mine: Sequence[int] | None = None,
) -> Served:
    """Let the server write the descriptions that ``data`` lacks, greedily, or take them from the cache.

    An image that cannot be read gets no description. Images of the same bytes get the same one. Where the cache has all
    descriptions, no server is asked.

    Args:
        settings: the server and its model; ``budget_usd`` limits what is spent.
        question: what is asked about each picture; the server has the model's template.
        progress: called with "describing"; cached descriptions count as done at once.
        stopped: read ten times a second.
        cache, mine: as ``core.scan.descriptions.describe_missing``.

    Raises:
        ApiError: if the server refuses the key, rejects 8 pictures in a row or all, or does not answer for one; what
            was written is in the cache.
        BudgetReached: the same, where a further request would exceed the budget.
        Cancelled: when ``stopped`` turns true.
    """
    missing = undescribed(data, mine)
    if not missing:
        return Served(data)
    paths = {i: data.root / data.sources[i].image for i in missing}
    progress(DESCRIBING, 0, len(missing))
    caches = DescriptionCache() if cache is None else cache
    with caches.open_served(settings.model, question, DESCRIPTION_TOKENS) as kept:
        run = _Run(settings, question, paths, kept, progress, written_before(paths, kept, progress, stopped))
        if run.todo:
            asyncio.run(run.go(stopped))
        progress(DESCRIBING, len(missing), len(missing))
        described = data.described({index: kept.texts[digest] for index, digest in run.digests.items()})
        return Served(described.with_troubles(run.failures), run.cut)


@dataclass
class _Run:
    """A run at work.

    Attributes:
        digests: of the image files that have a description, by sample.
        failures: why the server gave others none, by sample.
        unanswered: samples for which it did not answer at all, and may later.
        in_a_row: both since the last description.
        cut: answers that were cut before the longest description.
    """

    settings: Api
    question: str
    paths: dict[int, Path]
    kept: Descriptions
    progress: OnProgress
    digests: dict[int, str]
    failures: dict[int, str] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)
    in_a_row: int = 0
    cut: int = 0
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _keeping: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.todo = [index for index in self.paths if index not in self.digests]
        self._done = len(self.digests)
        self._last = ""  # why there was no description, most recently
        self._ledger = Ledger(self.settings.budget_usd)

    async def go(self, stopped: Stopped) -> None:
        """Describe all of ``todo``; raises as ``describe_by_server``."""
        known = price_of(self.settings.model, self.settings.prices) is not None
        at_once = self.settings.requests_at_once if known else max(AT_ONCE, self.settings.requests_at_once)
        async with Chat(self.settings) as chat:

            async def work(index: int) -> None:
                await self._describe(index, chat)

            def missed(index: int, error: VlmscopeError | None) -> None:  # noqa: ARG001 (the run ends with the error)
                return None

            batch = asyncio.ensure_future(
                run_batch(
                    self.todo,
                    work,
                    missed,
                    ends=(StopRun, BudgetReached),
                    at_once=at_once,
                    on_result=lambda _: self._step(),
                )
            )
            try:
                while not batch.done():
                    check(stopped, *STOPPED)
                    await asyncio.wait({batch}, timeout=LOOK_S)
            except Cancelled:
                batch.cancel()
                await asyncio.gather(batch, return_exceptions=True)
                raise
            end = await batch
        if end.stopped is not None:
            raise type(end.stopped)(end.stopped.message, f"{end.stopped.hint} {CONTINUES}".strip())
        if self._last and (self.unanswered or len(self.failures) == len(self.todo)):
            raise self._ends(self._last)

    def _step(self) -> None:
        self._done += 1
        self.progress(DESCRIBING, self._done, len(self.paths))

    async def _describe(self, index: int, chat: Chat) -> None:
        """Describe one picture; one that cannot be read is left as it is: the scan itself names it."""
        digest = await asyncio.to_thread(file_digest, self.paths[index])
        if digest is None:
            return
        async with self._locks[digest]:  # of two files with the same bytes one is asked about
            if digest not in self.kept.texts:
                picture = await asyncio.to_thread(_picture, self.paths[index])
                if picture is None:
                    return
                try:
                    text = await self._ask(picture, chat)
                except (StopRun, BudgetReached):
                    raise
                except ApiError as error:
                    if isinstance(error, NoResponse):
                        self.unanswered.append(index)
                    else:
                        self.failures[index] = f"{host(self.settings)} wrote no description: {error.message}"
                    self._last, self.in_a_row = error.message, self.in_a_row + 1
                    if self.in_a_row >= IN_A_ROW:
                        raise self._ends(error.message) from None
                    return
                self.in_a_row = 0
                async with self._keeping:
                    await asyncio.to_thread(self.kept.keep, {digest: text})
            self.digests[index] = digest

    async def _ask(self, picture: ImagePart, chat: Chat) -> str:
        """The description, which may be cut at the longest one. Raises ApiError if there is none."""
        request = ChatRequest(
            model=self.settings.model,
            system="",
            parts=(picture, TextPart(self.question)),
            schema_name="",
            schema=None,
            max_output_tokens=DESCRIPTION_TOKENS,
            greedy=True,
        )
        wanted = estimate_request(request, self.settings)
        with self._ledger.reserve(wanted):
            answer = await chat.ask(request)
            tag = price_of(self.settings.model, self.settings.prices)
            billed = answer.input_tokens or answer.output_tokens
            self._ledger.add(tag.usd(answer.input_tokens, answer.output_tokens) if tag and billed else wanted.usd)
        if answer.refusal:
            raise ApiError(f"it refuses: {answer.refusal}")
        text = answer.text.strip()
        if not text:
            raise ApiError(f"its answer is empty (finish_reason {answer.finish_reason or 'unknown'})")
        if answer.finish_reason == "length" and 0 < answer.output_tokens < DESCRIPTION_TOKENS:
            self.cut += 1
        return text

    def _ends(self, reason: str) -> StopRun:
        many = counted(len(self.failures) + len(self.unanswered), "picture")
        return StopRun(
            f"{host(self.settings)} gave no description for {many}. The last reason: {reason}",
            f"Check that it serves {self.settings.model} and that this model sees pictures. {CONTINUES}",
        )


def _picture(path: Path) -> ImagePart | None:
    """The picture as it is sent; None where it cannot be read."""
    try:
        image = load_image(path)
    except SamplesError:
        return None
    if max(image.size) > SIDE:
        scale = SIDE / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    return ImagePart("picture.png", png(image), *image.size)
