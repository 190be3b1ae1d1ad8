"""Write the demo's held-out pictures and the model's descriptions of them.

``python -m vlmscope.sample_data.recipe.make_samples --model FOLDER --out FOLDER`` makes ``images/`` and
``samples.jsonl``. The descriptions are of the pictures as saved, by the weights as saved.
"""

import argparse
import json
from pathlib import Path

from PIL import Image

from vlmscope.sample_data.recipe.captions import DESCRIBE
from vlmscope.sample_data.recipe.evaluate import Describer
from vlmscope.sample_data.recipe.scenes import TEST_SEEDS, make_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=1500)
    args = parser.parse_args()
    describer = Describer(args.model)
    images = args.out / "images"
    images.mkdir(parents=True, exist_ok=True)
    lines = []
    for start in range(0, args.scenes, 32):
        scenes = [make_scene(TEST_SEEDS + i) for i in range(start, min(start + 32, args.scenes))]
        names = [f"scene_{start + i:04}.webp" for i in range(len(scenes))]
        for name, scene in zip(names, scenes, strict=True):
            Image.fromarray(scene.picture).save(images / name, "WEBP", quality=92, method=6)
        pictures = [Image.open(images / name).convert("RGB") for name in names]
        for name, scene, text in zip(names, scenes, describer.ask(pictures, [DESCRIBE] * len(pictures)), strict=True):
            objects = [
                {"name": group.name, "colour": group.colour, "box": list(box)}
                for group in scene.groups
                for box in group.boxes
            ]
            lines.append(
                {"image": f"images/{name}", "description": text, "scene": scene.background, "objects": objects}
            )
        print(f"{len(lines)} of {args.scenes}", flush=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (args.out / "samples.jsonl").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
