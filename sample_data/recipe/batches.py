"""Training batches: scenes, their dense labels for the vision tower, and conversations as token sequences."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from vlmscope.sample_data.recipe.captions import conversation
from vlmscope.sample_data.recipe.model import BOS, EOS, GRID, IMAGE, PAD, PATCH
from vlmscope.sample_data.recipe.scenes import PictureScene, make_scene
from vlmscope.sample_data.recipe.words import COLOUR_NAMES, NAMES, SCENE_NAMES

IGNORE = -100
#: CLIP's normalisation, which the image processor applies as well.
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


@dataclass(frozen=True)
class VisionLabels:
    """Labels of each patch, int64 (B, 144) each, ``IGNORE`` where it shows no object; and labels of the whole picture.

    ``name`` has one class more, for patches of bare background. ``present`` is float32 (B, classes), ``scene`` (B,).
    """

    name: Tensor
    colour: Tensor
    place: Tensor
    size: Tensor
    count: Tensor
    present: Tensor
    scene: Tensor


@dataclass(frozen=True)
class TextBatch:
    """int64 (B, T), right-padded; ``labels`` are ``IGNORE`` where no loss is taken."""

    input_ids: Tensor
    labels: Tensor


def compressed(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture after compression in a WebP file, the format of the demo's own pictures."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=1)
    return np.array(Image.open(buffer).convert("RGB"))


def pixels(scenes: Sequence[PictureScene], rng: np.random.Generator | None = None) -> Tensor:
    """As from the image processor: float32 (B, 3, 96, 96); with ``rng``, two of three of them from WebP files."""
    pictures = [scene.picture for scene in scenes]
    if rng is not None:
        pictures = [p if rng.random() < 1 / 3 else compressed(p, int(rng.integers(80, 97))) for p in pictures]
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stacked.float() / 255 - MEAN) / STD


def vision_labels(scenes: Sequence[PictureScene]) -> VisionLabels:
    """The labels of these scenes. A patch shows the object that covers most of it, if any covers a quarter."""
    rows: dict[str, list[list[int]]] = {key: [] for key in ("name", "colour", "place", "size", "count")}
    present = torch.zeros(len(scenes), len(NAMES))
    for index, scene in enumerate(scenes):
        cells = scene.owner.reshape(GRID, PATCH, GRID, PATCH).transpose(0, 2, 1, 3).reshape(GRID * GRID, -1)
        cover = np.stack([(cells == g).sum(axis=1) for g in range(len(scene.groups))] or [np.zeros(GRID * GRID)])
        best, covered = cover.argmax(axis=0), cover.max(axis=0) >= PATCH * PATCH / 4
        of_group = {
            "name": [NAMES.index(g.name) for g in scene.groups],
            "colour": [len(COLOUR_NAMES) if g.colour is None else COLOUR_NAMES.index(g.colour) for g in scene.groups],
            "place": [g.place for g in scene.groups],
            "size": [g.size for g in scene.groups],
            "count": [g.count - 1 for g in scene.groups],
        }
        for key, values in of_group.items():
            nothing = len(NAMES) if key == "name" else IGNORE
            table = np.array(values or [nothing])
            rows[key].append(np.where(covered, table[best], nothing).tolist())
        for group in scene.groups:
            present[index, NAMES.index(group.name)] = 1
    whole = torch.tensor([SCENE_NAMES.index(scene.background) for scene in scenes])
    return VisionLabels(**{key: torch.tensor(value) for key, value in rows.items()}, present=present, scene=whole)


def tokens(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]], image: bool) -> tuple[list[int], list[int]]:
    """One conversation as input ids and labels; the loss is on answers and their end tokens only."""
    ids, labels = [BOS], [IGNORE]
    for number, (asked, answer) in enumerate(turns):
        begin = "USER: <image>\n" if image and number == 0 else "USER: "
        prompt = tokenizer.encode(f"{begin}{asked} ASSISTANT:", add_special_tokens=False).ids
        if image and number == 0:
            at = prompt.index(IMAGE)
            prompt = [*prompt[:at], *[IMAGE] * (GRID * GRID), *prompt[at + 1 :]]
        reply = [*tokenizer.encode(answer, add_special_tokens=False).ids, EOS]
        ids += prompt + reply
        labels += [IGNORE] * len(prompt) + reply
    return ids, labels


def text_batch(
    tokenizer: Tokenizer, conversations: Sequence[Sequence[tuple[str, str]]], *, image: bool, all_text: bool = False
) -> TextBatch:
    """Conversations as one padded batch; with ``all_text`` the questions are learned as well."""
    encoded = [tokens(tokenizer, turns, image) for turns in conversations]
    longest = max(len(ids) for ids, _ in encoded)
    input_ids = torch.full((len(encoded), longest), PAD)
    labels = torch.full((len(encoded), longest), IGNORE)
    for row, (ids, answers) in enumerate(encoded):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(ids)] = torch.tensor(ids if all_text else answers)
    return TextBatch(input_ids, labels)


def scenes_and_talk(seeds: Sequence[int]) -> tuple[list[PictureScene], list[list[tuple[str, str]]]]:
    """The scenes of these seeds, and one conversation about each."""
    scenes = [make_scene(seed) for seed in seeds]
    talk = [conversation(scene, np.random.default_rng([seed, 1])) for scene, seed in zip(scenes, seeds, strict=True)]
    return scenes, talk
