"""Captions under edits, on the demo, against a loop that runs the whole sequence again for every token."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vlmscope.core.base.callbacks import not_cancelled
from vlmscope.core.base.demo import DEMO
from vlmscope.core.base.errors import Cancelled, UsageError
from vlmscope.core.base.intervention import Edit, Positions
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.data.images import load_image
from vlmscope.core.data.samples import read_data
from vlmscope.core.model.captions import captions
from vlmscope.core.model.engine import VlmEngine
from vlmscope.core.model.load import load
from vlmscope.core.model.vlm import Vlm
from vlmscope.core.worker.interventions import CaptionRequest
from vlmscope.core.worker.messages import DescribeRequest, ModelSpec

QUESTION = "Could you describe the image?"
TOKENS = 12  #: how many are compared: the loop is slow
#: Edits that change the caption at each of the positions.
EDITS = tuple(Edit(Neuron(layer, index), -15.0) for layer in (0, 4) for index in range(0, 768, 2))


@pytest.fixture(scope="module")
def vlm() -> Vlm:
    return load(ModelSpec(DEMO, device="cpu"))


@pytest.fixture(scope="module")
def picture() -> Path:
    data = read_data(DEMO, limit=1)
    return data.root / data.sources[0].image


@torch.inference_mode()
def written_slowly(vlm: Vlm, picture: Path, edits: Sequence[Edit], at: Positions) -> str:
    """The first tokens, each by a pass over all tokens before it, without a cache."""
    image, prompt = load_image(picture), vlm.prompt(QUESTION)
    inputs = {name: part.clone() for name, part in vlm.encoder.to_continue([prompt], [image]).items()}
    length = inputs["input_ids"].shape[1]
    for _ in range(TOKENS):
        ids = inputs["input_ids"]
        places = torch.arange(ids.shape[1])
        chosen = {
            Positions.ALL: places >= 0,
            Positions.ANSWER: places >= length - 1,
            Positions.PICTURE: ids[0] == vlm.model.config.image_token_id,
        }[at]
        hooks = []
        for layer in {edit.neuron.layer for edit in edits}:
            own = [edit for edit in edits if edit.neuron.layer == layer]
            hooks.append(vlm.ffns[layer].down.register_forward_pre_hook(scaling(own, chosen)))
        logits = vlm.model(**inputs, use_cache=False).logits[0, -1]
        for hook in hooks:
            hook.remove()
        inputs["input_ids"] = torch.cat([ids, logits.argmax().reshape(1, 1)], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    return str(vlm.processor.decode(inputs["input_ids"][0, length:], skip_special_tokens=True)).strip()


def scaling(edits: Sequence[Edit], chosen: Tensor) -> Any:
    def scale(_: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        z = args[0].clone()
        for edit in edits:
            z[:, chosen, edit.neuron.index] *= edit.factor
        return (z,)

    return scale


@pytest.mark.parametrize("at", Positions)
def test_a_caption_is_what_the_slow_loop_writes(vlm: Vlm, picture: Path, at: Positions) -> None:
    image, prompt = load_image(picture), vlm.prompt(QUESTION)
    own, found = captions(vlm, image, prompt, [(), EDITS], at)
    assert own == vlm.describe([image], prompt)[0]
    slow = written_slowly(vlm, picture, EDITS, at)
    assert found.startswith(slow) and not own.startswith(slow)


def test_the_engine_answers(vlm: Vlm, picture: Path) -> None:
    engine = VlmEngine(vlm, ModelSpec(DEMO))
    told = engine.describe(DescribeRequest(str(picture), QUESTION), not_cancelled)
    for edits in ((), (Edit(Neuron(2, 5), 1.0),)):  # without edits, and one that changes nothing
        request = CaptionRequest(str(picture), told.prompt, None, edits, Positions.ALL)
        assert engine.caption(request, not_cancelled).description == told.description
    request = CaptionRequest(str(picture), told.prompt, None, EDITS, Positions.ALL)
    changed = engine.caption(request, not_cancelled).description
    assert changed == captions(vlm, load_image(picture), told.prompt, [EDITS], Positions.ALL)[0] != told.description
    with pytest.raises(UsageError, match="L6/N0 lies outside"):
        engine.caption(
            CaptionRequest(str(picture), told.prompt, None, (Edit(Neuron(6, 0)),), Positions.ALL), not_cancelled
        )
    with pytest.raises(Cancelled):
        engine.caption(request, lambda: True)
