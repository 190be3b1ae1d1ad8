"""What requests will cost at most, what was spent, and the budget that stops."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vlmscope.core.base.config import Api
from vlmscope.core.base.errors import BudgetReached
from vlmscope.core.base.text import plain
from vlmscope.core.llm.access import shown_url
from vlmscope.core.llm.messages import ChatRequest, TextPart
from vlmscope.core.llm.prices import image_tokens, price_of

BYTES_PER_TOKEN = 2  #: cautious: numbered lines take about 2.2, English prose 4 to 5
OVERHEAD = 200  #: tokens for the JSON schema and what separates messages


@dataclass(frozen=True)
class Estimate:
    """An upper bound, unless a model counts pictures in a way of its own."""

    input_tokens: int
    output_tokens_at_most: int  #: the answer is cut there
    usd: float | None  #: None where the model's price is not known
    price_date: str  #: what dates the price (``PriceTag.date``); empty where no price is known
    images: int  #: pictures sent
    requests: int = 1  #: how many requests this is the sum of

    @property
    def tokens(self) -> str:
        return f"{self.input_tokens:,} tokens in and {self.output_tokens_at_most:,} out"


def estimate_request(request: ChatRequest, settings: Api) -> Estimate:
    """The cost of one request, its answer cut at its own cap."""
    texts = [request.system, *(part.text for part in request.parts if isinstance(part, TextPart))]
    texts += [request.wrong_answer, request.complaint]
    return estimate_texts(texts, len(request.images), request.model, request.max_output_tokens, settings)


def estimate_texts(texts: Iterable[str], images: int, model: str, cap: int, settings: Api) -> Estimate:
    """The cost of one request of these texts and so many pictures, whose answer is cut at ``cap`` tokens."""
    tokens = sum(math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) for text in texts)
    tokens += images * image_tokens(model) + OVERHEAD
    tag = price_of(model, settings.prices)
    return Estimate(
        input_tokens=tokens,
        output_tokens_at_most=cap,
        usd=None if tag is None else tag.usd(tokens, cap),
        price_date="" if tag is None else tag.date,
        images=images,
    )


@dataclass(frozen=True)
class CostOffer:
    """What a user agrees to before anything is paid: the cost at most, the server, and the budget."""

    cost: Estimate
    settings: Api

    @property
    def short(self) -> str:
        """``at most about 9,000 tokens in and 1,000 out, $0.03``."""
        return f"at most about {self.cost.tokens}, {dollars(self.cost.usd)}"

    @property
    def exceeds_budget(self) -> bool:
        budget, usd = self.settings.budget_usd, self.cost.usd
        return bool(budget) and usd is not None and usd > budget

    def lines(self) -> list[str]:
        """Where to, for how much, and how far: for a dialog before the first request of a session."""
        cost, model = self.cost, plain(self.settings.model, 40)
        if cost.usd is None:
            price = f"At most {cost.tokens}. The price of {model} is not known: set it in [api.prices]."
        else:
            price = f"At most {dollars(cost.usd)}: {cost.tokens}, prices of {cost.price_date}."
        budget = f"{dollars(self.settings.budget_usd)} a session" if self.settings.budget_usd else "no limit"
        return [
            f"to {model} at {plain(shown_url(self.settings), 60)}.",
            "",
            price,
            f"Budget: {budget}. Later requests of this session are sent without asking.",
        ]


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum of several estimates, all of one model."""
    found = list(estimates)
    prices = [one.usd for one in found if one.usd is not None]
    return Estimate(
        input_tokens=sum(one.input_tokens for one in found),
        output_tokens_at_most=sum(one.output_tokens_at_most for one in found),
        usd=sum(prices) if len(prices) == len(found) else None,
        price_date=found[0].price_date if found else "",
        images=sum(one.images for one in found),
        requests=sum(one.requests for one in found),
    )


class Ledger:
    """The running total of a session. Its methods are called in the event loop's thread.

    Attributes:
        budget_usd: what the session may cost; 0: no limit.
        spent_usd: the bills so far of models whose price is known.
        unpriced: requests whose price is not known; they are counted and not limited.
    """

    def __init__(self, budget_usd: float) -> None:
        self.budget_usd = budget_usd
        self.spent_usd = 0.0
        self.unpriced = 0
        self._reserved = 0.0

    def check(self, wanted: Estimate) -> None:
        """See that ``wanted`` fits, beside what is spent and what requests in the air may cost.

        Raises:
            BudgetReached: if it does not.
        """
        if not self.budget_usd or wanted.usd is None:
            return
        committed = self.spent_usd + self._reserved
        if committed + wanted.usd > self.budget_usd:
            raise BudgetReached(
                f"A request of up to {dollars(wanted.usd)} would exceed the budget of {dollars(self.budget_usd)}: "
                f"{dollars(self.spent_usd)} is spent, {dollars(self._reserved)} is in the air.",
                "The setting is budget_usd under [api] in the settings file; it counts from each start; 0: no limit.",
            )

    @contextmanager
    def reserve(self, wanted: Estimate) -> Iterator[None]:
        """Hold the cost of a request while it is in the air. Raises BudgetReached as ``check``."""
        self.check(wanted)
        held = wanted.usd or 0.0
        self._reserved += held
        try:
            yield
        finally:
            self._reserved -= held

    def add(self, usd: float | None) -> None:
        """Book the bill of one request."""
        if usd is None:
            self.unpriced += 1
        else:
            self.spent_usd += usd


def dollars(usd: float | None) -> str:
    """A price for a person, ``$0.03``; small ones with the digits that tell them from nothing."""
    if usd is None:
        return "price unknown"
    return f"${usd:.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"
