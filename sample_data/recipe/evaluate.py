"""How well the saved model describes held-out scenes:
``python -m vlmscope.sample_data.recipe.evaluate --model FOLDER``.

The description is parsed back by the grammar's own words. Objects are compared by class. Place, number and size are
judged for objects that are both named and present. Prints JSON.
"""

import argparse
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from vlmscope.sample_data.recipe.captions import DESCRIBE, question
from vlmscope.sample_data.recipe.scenes import TEST_SEEDS, PictureScene, make_scene
from vlmscope.sample_data.recipe.words import CLASSES, COLOUR_NAMES, NUMBERS, PLACES, SCENES

_SINGULAR = {word: name for name, (plural, _) in CLASSES.items() for word in (name, plural)}
_THINGS = "|".join(sorted(_SINGULAR, key=len, reverse=True))
_PHRASE = re.compile(
    rf"\b(?:(an?|one|two|three)\s+)(?:(small|large)\s+)?(?:({'|'.join(COLOUR_NAMES)})\s+)?({_THINGS})\b", re.IGNORECASE
)
_PLACE = re.compile("|".join(sorted(PLACES, key=len, reverse=True)), re.IGNORECASE)


@dataclass(frozen=True)
class NamedGroup:
    """One group as a description names it."""

    name: str
    count: int
    size: int
    colour: str | None
    place: int | None


def parse(description: str) -> tuple[list[NamedGroup], str | None]:
    """The groups that a description names, and its background."""
    groups = []
    for sentence in re.split(r"(?<=\.)\s+", description):
        found = list(_PHRASE.finditer(sentence))
        places = [PLACES.index(match[0].lower()) for match in _PLACE.finditer(sentence)]
        for index, match in enumerate(found):
            number, size, colour, word = (part.lower() if part else None for part in match.groups())
            place = places[index] if index < len(places) else None
            count = NUMBERS.index(str(number)) + 1 if number in NUMBERS else 1
            size_index = {"small": 0, "large": 2}.get(str(size), 1)
            groups.append(NamedGroup(_SINGULAR[str(word)], count, size_index, colour, place))
    background = next((name for name, where in SCENES.items() if where.lower() in description.lower()), None)
    return groups, background


class Describer:
    """The saved model as a user loads it: half-precision weights, computed in float32."""

    def __init__(self, folder: Path) -> None:
        auto: Any = AutoProcessor
        self.processor = auto.from_pretrained(folder)
        self.model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).train(False)

    @torch.inference_mode()
    def ask(self, pictures: list[Image.Image], questions: list[str]) -> list[str]:
        """Greedy answers, one for each picture and question."""
        prompts = [
            self.processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
                add_generation_prompt=True,
                tokenize=False,
            )
            for text in questions
        ]
        inputs = self.processor(text=prompts, images=pictures, return_tensors="pt", padding=True)
        out = self.model.generate(**inputs, max_new_tokens=120, do_sample=False)
        new = out[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.batch_decode(new, skip_special_tokens=True)]


def score(scenes: list[PictureScene], descriptions: list[str]) -> dict[str, Any]:
    """Accuracies of descriptions of these scenes."""
    named = right = present = 0
    recall: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    judged: dict[str, list[bool]] = defaultdict(list)
    for scene, description in zip(scenes, descriptions, strict=True):
        found, background = parse(description)
        truth = {group.name: group for group in scene.groups}
        names = {group.name for group in found}
        named += len(names)
        right += len(names & truth.keys())
        present += len(truth)
        recall[len(truth)][0] += len(names & truth.keys())
        recall[len(truth)][1] += len(truth)
        judged["scene"].append(background == scene.background)
        for group in found:
            actual = truth.get(group.name)
            if actual is not None:
                judged["place"].append(group.place == actual.place)
                judged["number"].append(group.count == actual.count)
                judged["size"].append(group.size == actual.size)
                if actual.colour is not None:
                    judged["colour"].append(group.colour == actual.colour)
    return {
        "scenes": len(scenes),
        "precision": round(right / max(named, 1), 4),
        "recall": round(right / max(present, 1), 4),
        "recall_by_groups": {k: round(a / b, 4) for k, (a, b) in sorted(recall.items()) if b},
        **{key: round(float(np.mean(values)), 4) for key, values in judged.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--first", type=int, default=TEST_SEEDS + 1_000_000, help="seed of the first scene")
    args = parser.parse_args()
    describer = Describer(args.model)
    scenes = [make_scene(args.first + i) for i in range(args.scenes)]
    pictures = [Image.fromarray(scene.picture) for scene in scenes]
    asked = [question(scene, np.random.default_rng([args.first + i, 2])) for i, scene in enumerate(scenes)]
    descriptions: list[str] = []
    answers: list[str] = []
    for start in range(0, len(scenes), 32):
        part = slice(start, start + 32)
        descriptions += describer.ask(pictures[part], [DESCRIBE] * len(pictures[part]))
        answers += describer.ask(pictures[part], [text for text, _ in asked[part]])
    result = score(scenes, descriptions)
    result["short_questions"] = round(
        float(np.mean([answer == right for answer, (_, right) in zip(answers, asked, strict=True)])), 4
    )
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
