"""What models cost, and how they count pictures: for an estimate.

Prices: those of OpenAI's standard tier that ``genai-prices`` ships, without discounts; it asks no server. The user's
settings go before them. Pictures: the rule of OpenAI's vision guide, for gpt-5.2 and later as published bills show it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from vlmscope.core.base.config import Api, Price

SETTINGS_DATE = "settings"  #: in place of a date, for a price of the user's own

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
_OPEN_WEIGHTS = "gpt-oss"  #: other servers run these models, at prices of their own or none
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_THINKS = re.compile(r"^(gpt-[5-9]|o\d)")

ANSWER_CAP = 1000  #: output tokens; an answer of ours takes about 150
THINKING_CAP = 8000  #: of models that think first: their thoughts are output too


@dataclass(frozen=True)
class PriceTag:
    """A model's price and where it is from."""

    price: Price
    date: str  #: what dates it: name and version of the list that has it, or ``SETTINGS_DATE``

    def usd(self, input_tokens: int, output_tokens: int) -> float:
        """What so many tokens cost."""
        return (input_tokens * self.price.input + output_tokens * self.price.output) / 1e6


def undated(model: str) -> str:
    """The model's name without the date of its snapshot: ``gpt-4o-2024-08-06`` is ``gpt-4o``."""
    return _DATED.sub("", model)


def price_of(model: str, own: Mapping[str, Price]) -> PriceTag | None:
    """The model's price: the user's own, else OpenAI's, of a dated name too; None if neither is known.

    Higher prices of very long requests (from some 200,000 tokens) are left out: ours have some thousands.
    """
    if model in own:
        return PriceTag(own[model], SETTINGS_DATE)
    price = None if model.startswith(_OPEN_WEIGHTS) else _listed(model) or _listed(undated(model))
    return None if price is None else PriceTag(price, f"genai-prices {version('genai-prices')}")


@cache
def _listed(model: str) -> Price | None:
    from genai_prices import Usage, calc_price  # late: it takes a tenth of a second

    try:
        found = calc_price(Usage(input_tokens=1, output_tokens=1), model, provider_id="openai")
    except LookupError:
        return None
    price = Price(input=float(found.input_price * 10**6), output=float(found.output_price * 10**6))
    return price if price.input and price.output else None  # others are not paid by the token


def image_tokens(model: str) -> int:
    """About what one of our pictures costs in tokens: known for OpenAI's older models, else a cautious guess."""
    return _IMAGE_TOKENS.get(undated(model), _IMAGE_TOKENS_ELSEWHERE)


def output_cap(settings: Api) -> int:
    """Where an answer is cut: as the settings have it, else by the model's name."""
    return settings.max_output_tokens or (THINKING_CAP if _THINKS.match(settings.model) else ANSWER_CAP)
