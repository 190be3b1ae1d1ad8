"""Train the demo model: ``python -m sample_data.recipe.train --out FOLDER``.

Three stages, each with a budget of wall-clock seconds that drives its learning rate, and a checkpoint at its end:

1. language  the language model alone, on conversations without their pictures
2. vision    the vision tower alone: for each patch its object, colour, place, size and number; for the whole, what is
             there and on which background. All heads from the start: trained on objects alone, a tower forgets places.
3. together  everything, on conversations about pictures; the vision loss fades out

A stage whose checkpoint exists is not run again.
"""

import argparse
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sample_data.recipe.batches import IGNORE, VisionLabels, pixels, scenes_and_talk, text_batch, vision_labels
from sample_data.recipe.model import make_model, make_processor, train_tokenizer
from sample_data.recipe.scenes import Scene
from sample_data.recipe.words import COLOUR_NAMES, NAMES, PLACES, SCENE_NAMES, SIZES

HEADS = {"name": len(NAMES) + 1, "colour": len(COLOUR_NAMES) + 1, "place": len(PLACES), "size": len(SIZES), "count": 3}
WIDTH = 192
Talk = list[list[tuple[str, str]]]


class VisionHeads(nn.Module):
    """Linear readers of the vision features; thrown away after training."""

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
            wanted: Tensor = getattr(labels, key)
            logits = head(patches).flatten(0, 1)
            total = total + functional.cross_entropy(logits.float(), wanted.flatten(), ignore_index=IGNORE)
        return total


@dataclass
class Optimisers:
    """Muon for the hidden matrices, AdamW for all else; one learning rate."""

    both: list[torch.optim.Optimizer]
    rate: float

    @classmethod
    def over(cls, modules: list[nn.Module], rate: float) -> "Optimisers":
        matrices, others, seen = [], [], set[int]()
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
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in self.both:
            for group in optimiser.param_groups:
                group["lr"] = self.rate * scale
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)


def ahead(make: Callable[[int], Any]) -> Iterator[Any]:
    """``make(0)``, ``make(1)``, ... made by a thread, a few in advance."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=4)

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


def run_stage(name: str, seconds: float, batches: Iterator[Any], step: Callable[[Any, float], str]) -> int:
    """Call ``step(batch, progress)`` until the time is up; returns how many steps were made."""
    begun = last = time.monotonic()
    steps = 0
    while (now := time.monotonic()) - begun < seconds:
        text = step(next(batches), (now - begun) / seconds)
        steps += 1
        if now - last > 20:
            print(f"{name} {now - begun:6.0f} s step {steps} {text}", flush=True)
            last = now
    print(f"{name} done: {steps} steps in {time.monotonic() - begun:.0f} s", flush=True)
    return steps


def features(model: Any, images: Tensor) -> Tensor:
    """What the projector takes, class token first: (B, 145, 192)."""
    hidden: Tensor = model.model.vision_tower(images, output_hidden_states=True).hidden_states[-2]
    return hidden


def talk_loss(model: Any, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the next token; the head runs where there is a loss only."""
    hidden = model.model.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    taken = wanted != IGNORE
    return functional.cross_entropy(model.lm_head(hidden[taken]).float(), wanted[taken])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where checkpoints and the finished model go")
    parser.add_argument("--seconds", type=float, nargs=3, default=(120, 720, 2300), help="budget of each stage")
    parser.add_argument("--batch", type=int, nargs=3, default=(64, 48, 32), help="scenes in a batch of each stage")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)

    corpus = [text for seed in range(4000) for _, talk in [scenes_and_talk([seed])] for t in talk[0] for text in t]
    frame = ["USER: \nCould you describe the image? ASSISTANT: The"] * 50
    tokenizer = train_tokenizer([*corpus, *frame])
    model: Any = make_model()
    heads = VisionHeads()
    language, tower, projector = model.model.language_model, model.model.vision_tower, model.model.multi_modal_projector
    counted = sum(p.numel() for p in model.parameters())
    print(f"{counted / 1e6:.2f} M parameters, {tokenizer.get_vocab_size()} tokens", flush=True)

    def autocast() -> torch.autocast:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def checkpoint(name: str, make: Callable[[], None]) -> None:
        path = args.out / f"{name}.safetensors"
        whole = nn.ModuleDict({"model": model, "heads": heads})
        if path.exists():
            whole.load_state_dict(load_file(path), strict=False)
            print(f"{name}: read from its checkpoint", flush=True)
            return
        make()
        state = {k: v.detach().contiguous().clone() for k, v in whole.state_dict().items() if "lm_head" not in k}
        save_file(state, path)

    def learn_language() -> None:
        size = args.batch[0]
        optimisers = Optimisers.over([language], 2e-3)
        parameters = list(language.parameters())

        def make(number: int) -> Any:
            _, talk = scenes_and_talk(range(number * size, (number + 1) * size))
            return text_batch(tokenizer, talk, image=False, all_text=True)

        def step(batch: Any, progress: float) -> str:
            with autocast():
                loss = talk_loss(model, language.embed_tokens(batch.input_ids), batch.labels)
            optimisers.step(loss, progress, parameters)
            return f"loss {loss.item():.3f}"

        run_stage("language", args.seconds[0], ahead(make), step)

    def scene_batch(size: int, offset: int) -> Callable[[int], Any]:
        def make(number: int) -> tuple[list[Scene], Talk, Tensor, VisionLabels]:
            first = offset + number * size
            scenes, talk = scenes_and_talk(range(first, first + size))
            return scenes, talk, pixels(scenes), vision_labels(scenes)

        return make

    def learn_vision() -> None:
        optimisers = Optimisers.over([tower, heads], 2e-3)
        parameters = [*tower.parameters(), *heads.parameters()]

        def step(batch: Any, progress: float) -> str:
            _, _, images, labels = batch
            with autocast():
                seen = features(model, images)
                loss = heads.loss(seen, labels)
            optimisers.step(loss, progress, parameters)
            return f"loss {loss.item():.3f}"

        run_stage("vision", args.seconds[1], ahead(scene_batch(args.batch[1], 1 << 30)), step)

    def learn_together() -> None:
        optimisers = Optimisers.over([tower, projector, language, heads], 2e-3)
        parameters = [p for m in (tower, projector, language, heads) for p in m.parameters()]

        def step(batch: Any, progress: float) -> str:
            _, talk, images, labels = batch
            turns = text_batch(tokenizer, talk, image=True)
            with autocast():
                seen = features(model, images)
                embeddings = language.embed_tokens(turns.input_ids)
                patches = projector(seen[:, 1:]).to(embeddings.dtype)
                where = (turns.input_ids == model.config.image_token_id)[..., None]
                loss = talk_loss(model, embeddings.masked_scatter(where, patches), turns.labels)
                weight = 0.15 * max(0.0, 1 - progress / 0.6)
                total = loss + weight * heads.loss(seen, labels) if weight else loss
            optimisers.step(total, progress, parameters)
            return f"loss {loss.item():.3f}"

        run_stage("together", args.seconds[2], ahead(scene_batch(args.batch[2], 1 << 35)), step)

    checkpoint("language", learn_language)
    checkpoint("vision", learn_vision)
    checkpoint("together", learn_together)
    model.config._attn_implementation = "sdpa"
    model.half().save_pretrained(args.out / "model")
    make_processor(tokenizer).save_pretrained(args.out / "model")
    print(f"the model is in {args.out / 'model'}", flush=True)


if __name__ == "__main__":
    main()
