"""Train the demo model: ``python -m vlmscope.sample_data.recipe.train --out FOLDER``.

Four stages, each with a budget of wall-clock seconds that drives its learning rate, and a checkpoint at its end:

1. language  the language model alone, on conversations without their pictures
2. vision    the vision tower alone: for each patch its object, colour, place, size and number; for the whole picture
             its objects and its background. All heads from the start: trained on objects alone, a tower forgets places.
3. together  everything, on conversations about pictures; the vision loss fades out
4. longer    the same on other scenes, most of them out of compressed files, from a fresh learning rate

A stage whose checkpoint exists is not run again.
"""

import argparse
import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from vlmscope.sample_data.recipe.batches import (
    IGNORE,
    TextBatch,
    VisionLabels,
    pixels,
    scenes_and_talk,
    text_batch,
    vision_labels,
)
from vlmscope.sample_data.recipe.model import make_model, make_processor, train_tokenizer
from vlmscope.sample_data.recipe.words import COLOUR_NAMES, NAMES, PLACES, SCENE_NAMES, SIZES

HEADS = {"name": len(NAMES) + 1, "colour": len(COLOUR_NAMES) + 1, "place": len(PLACES), "size": len(SIZES), "count": 3}
WIDTH = 192
T = TypeVar("T")


class VisionHeads(nn.Module):
    """Linear readers of the vision features; discarded after training."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.ModuleDict({key: nn.Linear(WIDTH, size) for key, size in HEADS.items()})
        self.present = nn.Linear(WIDTH, len(NAMES))
        self.scene = nn.Linear(WIDTH, len(SCENE_NAMES))

    def loss(self, features: Tensor, labels: VisionLabels) -> Tensor:
        """``features``: (B, 145, 192), the class token first."""
        whole, patches = features[:, 0], features[:, 1:]
        total = functional.binary_cross_entropy_with_logits(self.present(whole), labels.present) * 10
        total = total + functional.cross_entropy(self.scene(whole), labels.scene) * 0.5
        for key, head in self.patch.items():
            expected: Tensor = getattr(labels, key)
            logits = head(patches).flatten(0, 1)
            total = total + functional.cross_entropy(logits.float(), expected.flatten(), ignore_index=IGNORE)
        return total


@dataclass
class Optimisers:
    """Muon for the hidden matrices, AdamW for all else; one learning rate."""

    both: list[torch.optim.Optimizer]
    rate: float

    @classmethod
    def over(cls, modules: list[nn.Module], rate: float) -> "Optimisers":
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        seen: set[int] = set()
        for module in modules:
            for name, parameter in module.named_parameters():
                if id(parameter) in seen or not parameter.requires_grad:
                    continue
                seen.add(id(parameter))
                hidden = parameter.ndim == 2 and not any(
                    w in name for w in ("embed", "lm_head", "patch.", "present", "scene")
                )
                (matrices if hidden else others).append(parameter)
        muon = torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
        return cls([muon, adam], rate)

    def step(self, loss: Tensor, progress: float, parameters: list[Tensor]) -> None:
        scale = min(1.0, progress / 0.02 + 0.02) * min(1.0, (1 - progress) / 0.35 + 0.01)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in self.both:
            for group in optimiser.param_groups:
                group["lr"] = self.rate * scale
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)


def ahead(make: Callable[[int], T]) -> Iterator[T]:
    """``make(0)``, ``make(1)``, ... made by a thread, a few in advance."""
    ready: queue.Queue[T | BaseException] = queue.Queue(maxsize=4)

    def work() -> None:
        try:
            for number in itertools.count():
                ready.put(make(number))
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            ready.put(error)

    threading.Thread(target=work, daemon=True).start()
    while True:
        made = ready.get()
        if isinstance(made, BaseException):
            raise made
        yield made


def run_stage(name: str, seconds: float, batches: Iterator[T], step: Callable[[T, float], float]) -> None:
    """Call ``step(batch, progress)``, which returns the loss, until the time is up."""
    begun = last = time.monotonic()
    steps = 0
    while (now := time.monotonic()) - begun < seconds:
        loss = step(next(batches), (now - begun) / seconds)
        steps += 1
        if now - last > 20:
            print(f"{name} {now - begun:6.0f} s step {steps} loss {loss:.3f}", flush=True)
            last = now
    print(f"{name} done: {steps} steps in {time.monotonic() - begun:.0f} s", flush=True)


@dataclass(frozen=True)
class Pictures:
    """Scenes to learn from: float32 (B, 3, 96, 96), their labels, and conversations about them."""

    pixels: Tensor
    labels: VisionLabels
    talk: list[list[tuple[str, str]]]


def pictures(size: int, first: int, *, files: bool = False) -> Callable[[int], Pictures]:
    """Batches of fresh scenes, from the seed ``first`` on; with ``files``, most of them out of compressed files."""

    def make(number: int) -> Pictures:
        begin = first + number * size
        scenes, talk = scenes_and_talk(range(begin, begin + size))
        rng = np.random.default_rng(begin) if files else None
        return Pictures(pixels(scenes, rng), vision_labels(scenes), talk)

    return make


def features(model: Any, images: Tensor) -> Tensor:
    """The projector's input, class token first: (B, 145, 192)."""
    hidden: Tensor = model.model.vision_tower(images, output_hidden_states=True).hidden_states[-2]
    return hidden


def talk_loss(model: Any, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the next token; the head runs only where there is a loss."""
    hidden = model.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, :-1]
    expected = labels[:, 1:]
    taken = expected != IGNORE
    return functional.cross_entropy(model.lm_head(hidden[taken]).float(), expected[taken])


def autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


class Training:
    """The model in training, and its four stages."""

    def __init__(self, out: Path) -> None:
        self.out = out
        corpus = [text for seed in range(4000) for turn in scenes_and_talk([seed])[1][0] for text in turn]
        frame = ["USER: \nCould you describe the image? ASSISTANT: The"] * 50
        self.tokenizer = train_tokenizer([*corpus, *frame])
        self.model: Any = make_model()
        self.heads = VisionHeads()
        self.language = self.model.model.language_model
        self.tower = self.model.model.vision_tower
        self.projector = self.model.model.multi_modal_projector
        counted = sum(p.numel() for p in self.model.parameters())
        print(f"{counted / 1e6:.2f} M parameters, {self.tokenizer.get_vocab_size()} tokens", flush=True)

    def checkpointed(self, name: str, learn: Callable[[float, int], None], seconds: float, size: int) -> None:
        """Run a stage, or read its checkpoint if there is one."""
        path = self.out / f"{name}.safetensors"
        whole = nn.ModuleDict({"model": self.model, "heads": self.heads})
        if path.exists():
            whole.load_state_dict(load_file(path), strict=False)  # lm_head is tied, and not in the file
            print(f"{name}: read from its checkpoint", flush=True)
            return
        learn(seconds, size)
        state = {k: v.detach().contiguous().clone() for k, v in whole.state_dict().items() if "lm_head" not in k}
        save_file(state, path)

    def learn_language(self, seconds: float, size: int) -> None:
        optimisers = Optimisers.over([self.language], 2e-3)
        parameters = list(self.language.parameters())

        def make(number: int) -> TextBatch:
            _, talk = scenes_and_talk(range(number * size, (number + 1) * size))
            return text_batch(self.tokenizer, talk, image=False, all_text=True)

        def step(batch: TextBatch, progress: float) -> float:
            with autocast():
                loss = talk_loss(self.model, self.language.embed_tokens(batch.input_ids), batch.labels)
            optimisers.step(loss, progress, parameters)
            return loss.item()

        run_stage("language", seconds, ahead(make), step)

    def learn_vision(self, seconds: float, size: int) -> None:
        optimisers = Optimisers.over([self.tower, self.heads], 2e-3)
        parameters = [*self.tower.parameters(), *self.heads.parameters()]

        def step(batch: Pictures, progress: float) -> float:
            with autocast():
                loss = self.heads.loss(features(self.model, batch.pixels), batch.labels)
            optimisers.step(loss, progress, parameters)
            return loss.item()

        run_stage("vision", seconds, ahead(pictures(size, 1 << 30)), step)

    def learn_together(self, seconds: float, size: int) -> None:
        self._learn_all("together", seconds, ahead(pictures(size, 1 << 35)), 2e-3)

    def learn_longer(self, seconds: float, size: int) -> None:
        self._learn_all("longer", seconds, ahead(pictures(size, 1 << 36, files=True)), 1.2e-3)

    def _learn_all(self, name: str, seconds: float, batches: Iterator[Pictures], rate: float) -> None:
        parts = [self.tower, self.projector, self.language, self.heads]
        optimisers = Optimisers.over(parts, rate)
        parameters = [p for part in parts for p in part.parameters()]

        def step(batch: Pictures, progress: float) -> float:
            turns = text_batch(self.tokenizer, batch.talk, image=True)
            with autocast():
                seen = features(self.model, batch.pixels)
                embeddings = self.language.embed_tokens(turns.input_ids)
                patches = self.projector(seen[:, 1:]).to(embeddings.dtype)
                where = (turns.input_ids == self.model.config.image_token_id)[..., None]
                loss = talk_loss(self.model, embeddings.masked_scatter(where, patches), turns.labels)
                weight = 0.15 * max(0.0, 1 - progress / 0.6)
                total = loss + weight * self.heads.loss(seen, batch.labels) if weight else loss
            optimisers.step(total, progress, parameters)
            return loss.item()

        run_stage(name, seconds, batches, step)

    def save(self) -> None:
        """Write the finished model in half precision, with its processor."""
        self.model.config._attn_implementation = "sdpa"
        self.model.half().save_pretrained(self.out / "model")
        make_processor(self.tokenizer).save_pretrained(self.out / "model")
        print(f"the model is in {self.out / 'model'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and the finished model go")
    parser.add_argument("--seconds", type=float, nargs=4, default=(100, 720, 2300, 1000), help="budget of each stage")
    parser.add_argument("--batch", type=int, nargs=4, default=(64, 48, 32, 32), help="scenes in a batch of each stage")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sys.setswitchinterval(1e-4)  # else the thread that makes scenes holds up every operation of the model
    args.out.mkdir(parents=True, exist_ok=True)
    training = Training(args.out)
    stages = {
        "language": training.learn_language,
        "vision": training.learn_vision,
        "together": training.learn_together,
        "longer": training.learn_longer,
    }
    for (name, learn), seconds, size in zip(stages.items(), args.seconds, args.batch, strict=True):
        training.checkpointed(name, learn, seconds, size)
    training.save()


if __name__ == "__main__":
    main()
