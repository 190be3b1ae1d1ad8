"""What models cost, how they count pictures, and when they leave: facts with a date, for an estimate.

Prices: OpenAI's standard tier in dollars for a million tokens, June 2026, taken from several published lists that agree
with each other; the discount for cached input is left out. The user's settings go before this table. Pictures: the rule
of OpenAI's vision guide, for gpt-5.2 and later as published bills show it. Ends: the docstring of
``openai.types.ChatModel`` in openai 3.54.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vlmscope.core.base.config import Price

PRICE_DATE = "2026-06"  #: of the table
SETTINGS_DATE = "settings"  #: in place of a date, for a price of the user's own

_PRICES = {
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-2024-05-13": (5.0, 15.0),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-5": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
    "gpt-5.1": (1.25, 10.0),
    "gpt-5.2": (1.75, 14.0),
    "gpt-5.4": (2.5, 15.0),
    "gpt-5.4-mini": (0.75, 4.5),
    "gpt-5.4-nano": (0.2, 1.25),
    "gpt-5.5": (5.0, 30.0),
}
#: Tokens for one picture of 504 x 504 pixels in high detail. Tiles of 512 pixels: a base and one tile; patches of 32
#: pixels: 16 x 16 of them, times a factor of the model's own.
_IMAGE_TOKENS = {
    "gpt-4o": 85 + 170,
    "gpt-4o-mini": 2833 + 5667,
    "gpt-4.1": 85 + 170,
    "gpt-4.1-mini": 415,  # 256 * 1.62
    "gpt-4.1-nano": 630,  # 256 * 2.46
    "gpt-5": 70 + 140,
    "gpt-5-mini": 415,
    "gpt-5-nano": 630,
    "gpt-5.1": 70 + 140,
    "gpt-5.2": 308,  # 256 * 1.2
    "gpt-5.4": 308,
    "gpt-5.5": 308,
}
_IMAGE_TOKENS_ELSEWHERE = 640  #: of a model not listed: more than any of them but gpt-4o-mini; LLaVA-1.5 takes 576
_LAST_DAY = {
    "gpt-4o": "2027-01-14",
    "gpt-4o-2024-05-13": "2026-10-23",
    "gpt-4o-mini": "2027-01-14",
    "gpt-4.1": "2027-01-14",
    "gpt-4.1-mini": "2027-01-14",
    "gpt-4.1-nano": "2026-10-23",
    "gpt-5": "2026-12-11",
    "gpt-5-mini": "2026-12-11",
    "gpt-5-nano": "2026-12-11",
    "gpt-5.1": "2027-04-01",
    "gpt-5.4-nano": "2027-04-01",
    "o3": "2026-12-11",
    "o4-mini": "2026-10-23",
}
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_THINKS = re.compile(r"^(gpt-[5-9]|o\d)")

ANSWER_CAP = 1000  #: output tokens; an answer of ours takes about 150
THINKING_CAP = 8000  #: of models that think first: their thoughts are output too


@dataclass(frozen=True)
class PriceTag:
    """A model's price and where it is from.

    Attributes:
        date: of the table that has it, or ``SETTINGS_DATE``.
    """

    price: Price
    date: str

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        return (input_tokens * self.price.input + output_tokens * self.price.output) / 1e6


def undated(model: str) -> str:
    """The model's name without the date of its snapshot: ``gpt-4o-2024-08-06`` is ``gpt-4o``."""
    return _DATED.sub("", model)


def price_of(model: str, own: Mapping[str, Price]) -> PriceTag | None:
    """The model's price: the user's own, else the table's; None if neither has it."""
    if model in own:
        return PriceTag(own[model], SETTINGS_DATE)
    pair = _PRICES.get(model) or _PRICES.get(undated(model))
    return None if pair is None else PriceTag(Price(input=pair[0], output=pair[1]), PRICE_DATE)


def image_tokens(model: str) -> int:
    """About what one of our pictures costs in tokens: known for OpenAI's older models, else a cautious guess."""
    return _IMAGE_TOKENS.get(undated(model), _IMAGE_TOKENS_ELSEWHERE)


def output_cap(model: str) -> int:
    """Where an answer is cut."""
    return THINKING_CAP if _THINKS.match(model) else ANSWER_CAP


def last_day(model: str) -> str:
    """The announced day (ISO 8601) on which the model leaves OpenAI's API, or an empty string."""
    return _LAST_DAY.get(model) or _LAST_DAY.get(undated(model), "")
