"""Texts about a scene: descriptions from a small grammar, and short questions with their answers."""

import numpy as np

from vlmscope.sample_data.recipe.scenes import ObjectGroup, PictureScene
from vlmscope.sample_data.recipe.words import (
    CLASSES,
    COLOUR_NAMES,
    NAMES,
    NUMBERS,
    PLACES,
    SCENE_NAMES,
    SCENES,
    article,
)

DESCRIBE = "Could you describe the image?"  #: the paper's question, and the one asked of the demo
OTHER_WORDS = ("Describe this picture.", "What do you see in the image?", "What does the picture show?")


def phrase(group: ObjectGroup) -> str:
    """E.g. ``two large red cars``, ``a small dog``."""
    plural = CLASSES[group.name][0]
    words = [w for w in (("small", "", "large")[group.size], group.colour or "") if w]
    words.append(group.name if group.count == 1 else plural)
    return " ".join([article(words[0]) if group.count == 1 else NUMBERS[group.count - 1], *words])


def _sentence(group: ObjectGroup, first: bool) -> str:
    what, where = phrase(group), PLACES[group.place]
    verb = "is" if group.count == 1 else "are"
    forms = [f"There {verb} {what} {where}.", f"{where.capitalize()} there {verb} {what}."]
    if first:
        forms = [f"The image shows {what} {where}.", f"The picture shows {what} {where}.", *forms]
    else:
        forms += [f"{what.capitalize()} can be seen {where}.", f"{where.capitalize()} we see {what}."]
    return forms[NAMES.index(group.name) % len(forms)]


def describe(scene: PictureScene) -> str:
    """A description that names every group in reading order, and the background at its beginning or end.

    The forms of the sentences vary with what is in the scene, not by chance: a model that describes greedily would
    otherwise settle on the most frequent form.
    """
    sentences: list[str] = []
    groups = list(scene.groups)
    while groups:
        group = groups.pop(0)
        if groups and group.count == 1 and groups[0].count == 1 and NAMES.index(group.name) % 2:
            other = groups.pop(0)
            lead = "There is" if sentences else "The image shows"
            sentences.append(f"{lead} {phrase(group)} {PLACES[group.place]} and {phrase(other)} {PLACES[other.place]}.")
        else:
            sentences.append(_sentence(group, first=not sentences))
    where = SCENES[scene.background]
    form = SCENE_NAMES.index(scene.background) % 4
    if form == 0:
        sentences.insert(0, f"This is a scene {where}.")
    else:
        sentences.append((f"All of this is {where}.", f"The scene is {where}.", f"It is a scene {where}.")[form - 1])
    return " ".join(sentences)


def question(scene: PictureScene, rng: np.random.Generator) -> tuple[str, str]:
    """A short question and its answer."""
    present = {g.name for g in scene.groups}
    kind = int(rng.integers(0, 6))
    if kind == 0 or not scene.groups:
        absent = [n for n in NAMES if n not in present]
        yes = bool(scene.groups) and rng.random() < 0.5
        name = str(rng.choice(sorted(present) if yes else absent))
        return f"Is there {article(name)} {name}?", "Yes." if yes else "No."
    group = scene.groups[int(rng.integers(0, len(scene.groups)))]
    plural = CLASSES[group.name][0]
    if kind == 1:
        verb, name = ("is", group.name) if group.count == 1 else ("are", plural)
        return f"Where {verb} the {name}?", f"{PLACES[group.place].capitalize()}."
    if kind == 2:
        return f"How many {plural} are there?", f"{NUMBERS[group.count - 1].capitalize()}."
    if kind == 3 and group.colour is not None and group.colour in COLOUR_NAMES:
        return f"What colour is the {group.name}?", f"{group.colour.capitalize()}."
    if kind == 4:
        return "Where was this picture made?", f"{SCENES[scene.background].capitalize()}."
    return f"What is {PLACES[group.place]}?", f"{phrase(group).capitalize()}."


def conversation(scene: PictureScene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Two turns about one scene: mostly the description first, then a short question; sometimes the other way round."""
    asked = DESCRIBE if rng.random() < 0.8 else OTHER_WORDS[int(rng.integers(0, len(OTHER_WORDS)))]
    turns = [(asked, describe(scene)), question(scene, rng)]
    return turns if rng.random() < 0.7 else turns[::-1]
