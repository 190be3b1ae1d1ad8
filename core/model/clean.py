"""The clean pass of a sample, without edits: what is kept of it, so that a pass with edits can begin at any layer."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from vlmscope.core.base.callbacks import Stopped, not_cancelled
from vlmscope.core.data.images import load_image
from vlmscope.core.model.arguments import Tree, copied, tensors
from vlmscope.core.model.attended import Attended, attending
from vlmscope.core.model.encode import Encoded
from vlmscope.core.model.ffn import Ffn, decoder_of
from vlmscope.core.model.vlm import Inputs, Vlm
from vlmscope.core.worker.interventions import CLEAN_BYTES, SampleRef

STOPPED = "The pass was stopped."


@dataclass(frozen=True, eq=False)
class Written:
    """What a layer's neurons write at each position.

    Attributes:
        z: (1, T, F), the input of the down projection. up: (1, T, F), the up branch; None where there is none.
    """

    z: Tensor
    up: Tensor | None


@dataclass(frozen=True, eq=False)
class CleanPass:
    """One sample's pass, a batch of one. Tensors are where the model made them.

    Attributes:
        arguments: what the decoder is called with: a tuple, and a dictionary by name.
        entered: of each layer, the input of its FFN (1, T, H).
        left: of each layer, what it gives: the residual stream (1, T, H), perhaps in a tuple with more.
        hidden: (1, T, H), after the final norm.
        embedded: (1, T, H), the stream that enters the first layer.
        attended: of each layer; None where it is not known for every layer.
    """

    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    entered: tuple[Tensor, ...]
    left: tuple[Any, ...]
    hidden: Tensor
    embedded: Tensor
    attended: tuple[Attended, ...] | None

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        trees: list[Tree] = [self.arguments, self.entered, self.left, self.hidden, self.embedded]
        trees += [[one.key, one.value, one.mask, one.arguments] for one in self.attended or ()]
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors(trees)}.values())  # layers share some

    def written(self, ffn: Ffn, layer: int) -> Written:
        """What the neurons of a layer write, by its FFN alone."""
        z, up = [], []
        with ExitStack() as hooks, torch.inference_mode():
            if ffn.up_source is not None:
                hooks.enter_context(ffn.up_source.register_forward_hook(lambda _m, _in, out: up.append(out)))
            hooks.enter_context(ffn.down.register_forward_pre_hook(lambda _, args: z.append(args[0])))
            ffn.block(self.entered[layer])
        return Written(z[0], ffn.up_branch(up[0]) if up else None)


def stream(left: Any) -> Tensor:
    """The residual stream in what a layer gives."""
    found: Tensor = left[0] if isinstance(left, tuple) else left
    return found


def clean_pass(vlm: Vlm, inputs: Inputs, stopped: Stopped = not_cancelled) -> CleanPass:
    """Run a sample.

    Args:
        inputs: of one sample.

    Raises:
        Cancelled: when ``stopped`` turns true, which is read before every layer.
    """
    entered: dict[int, Tensor] = {}
    left: dict[int, Any] = {}
    called: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    attended: dict[int, list[tuple[Tensor, Tensor, Tensor | None]]] = {}
    decoder = decoder_of(vlm.model)
    layer_of = {module: number for number, layer in enumerate(decoder.layers) for module in layer.modules()}

    def take(module: nn.Module, *found: Any) -> Any:
        attended.setdefault(layer_of[module], []).append(found)
        return found

    def begins(layer: int) -> Callable[..., None]:
        return lambda _, args, named: calls.__setitem__(layer, (args, _shallow(named)))

    def enters(layer: int) -> Callable[..., None]:
        return lambda _, args: entered.__setitem__(layer, args[0])

    def leaves(layer: int) -> Callable[..., None]:
        return lambda _m, _in, out: left.__setitem__(layer, copied(out))  # the decoder may add to it in place

    embedded: list[Tensor] = []
    with ExitStack() as stack, torch.inference_mode():
        stack.enter_context(
            decoder.layers[0].register_forward_pre_hook(lambda _, args: embedded.append(args[0].clone()))
        )
        stack.enter_context(vlm.busy)
        stack.enter_context(vlm.stoppable(stopped, STOPPED))
        stack.enter_context(attending(decoder.layers, take))
        taken = decoder.register_forward_pre_hook(
            lambda _, args, named: called.append((copied(args), copied(named))), with_kwargs=True
        )
        stack.enter_context(taken)
        for number, (layer, ffn) in enumerate(zip(decoder.layers, vlm.ffns, strict=True)):
            stack.enter_context(layer.register_forward_pre_hook(begins(number), with_kwargs=True))
            stack.enter_context(layer.register_forward_hook(leaves(number)))
            stack.enter_context(ffn.block.register_forward_pre_hook(enters(number)))
        hidden = vlm.decode(inputs)
    of_layers = range(vlm.layers)
    known = all(len(attended.get(at, ())) == 1 and calls[at][0] for at in of_layers)
    return CleanPass(
        called[0],
        tuple(entered[at] for at in of_layers),
        tuple(left[at] for at in of_layers),
        hidden,
        embedded[0],
        tuple(Attended(*attended[at][0], (calls[at][0][1:], calls[at][1])) for at in of_layers) if known else None,
    )


def _shallow(named: dict[str, Any]) -> dict[str, Any]:
    """Arguments whose dictionaries are copies: layers may add to them."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in named.items()}


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample as the model gets it: its picture, its tokens, its clean pass."""

    image: Image.Image
    encoded: Encoded
    clean: CleanPass

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.clean.bytes + 3 * self.image.width * self.image.height


class Samples:
    """The last samples with their clean passes, up to so many bytes together. A larger one is not kept."""

    def __init__(self, vlm: Vlm, limit: int = CLEAN_BYTES) -> None:
        self._vlm = vlm
        self._limit = limit
        self._kept: OrderedDict[Hashable, Sample] = OrderedDict()

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return sum(one.bytes for one in self._kept.values())

    def get(self, sample: SampleRef, stopped: Stopped = not_cancelled) -> Sample:
        """The sample, kept or run. A picture's file that changes is another sample.

        Raises:
            SamplesError: if its picture or its description cannot be used.
            Cancelled: when ``stopped`` turns true, which is read before every layer.
        """
        path = Path(sample.image)
        try:
            stat = path.stat()
            file = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            file = None  # ``load_image`` has the words for what is wrong
        key = (str(path), file, sample.prompt, sample.description)
        found = self._kept.get(key)
        if found is None:
            image = load_image(path)
            encoded = self._vlm.encode(sample.prompt, sample.description, image.size)
            found = Sample(image, encoded, clean_pass(self._vlm, self._vlm.inputs([encoded], [image]), stopped))
            self._keep(key, found)
        else:
            self._kept.move_to_end(key)
        return found

    def _keep(self, key: Hashable, sample: Sample) -> None:
        if sample.bytes > self._limit:
            return
        self._kept[key] = sample
        while self.bytes > self._limit:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
