"""Copy the sprites that the scenes use out of the unpacked npm package ``emoji-datasource-google`` 16.0.0.

``python -m vlmscope.sample_data.recipe.import_sprites PACKAGE_FOLDER``; done once: the sprites are in ``sprites/``.
"""

import json
import sys
from pathlib import Path

from PIL import Image

from vlmscope.sample_data.recipe.scenes import SPRITES
from vlmscope.sample_data.recipe.words import CLASSES


def main() -> None:
    package = Path(sys.argv[1])
    listed = json.loads((package / "emoji.json").read_text(encoding="utf-8"))
    files = {name: entry["image"] for entry in listed for name in entry["short_names"]}
    SPRITES.mkdir(exist_ok=True)
    for _, sprites in CLASSES.values():
        for name in sprites:
            picture = Image.open(package / "img" / "google" / "64" / files[name])
            picture.convert("RGBA").save(SPRITES / f"{name}.png", optimize=True)  # some are palette images


if __name__ == "__main__":
    main()
