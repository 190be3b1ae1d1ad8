"""What an explanation will cost at most, before its activations are known."""

from vlmscope.core.base.config import Api
from vlmscope.core.explain.evidence import Evidence
from vlmscope.core.explain.prompt import has_images, heading, system_prompt, words
from vlmscope.core.llm.budget import Estimate, estimate_texts
from vlmscope.core.llm.prices import output_cap
from vlmscope.core.method.norm import TOP


def estimate(of: Evidence, settings: Api) -> Estimate:
    """The cost of one explanation. Evidence needs no activations yet: every token counts as active."""
    active = int(TOP)
    texts = [system_prompt(of.label)]
    for number, sample in enumerate(of.samples, 1):
        texts += [heading(of, number), words(of.label, sample, [active] * len(sample.tokens))]
    images = 2 * len(of.samples) if has_images(of.label) else 0
    return estimate_texts(texts, images, settings.model, output_cap(settings.model), settings)
