"""What each part of the screen shows: a change of the scene repaints the parts whose values are others now."""

from collections.abc import Callable

from vlmscope.tui.views.scene import Changed, Scene
from vlmscope.tui.views.state import Mode

# A value that holds arrays is compared by identity: comparing its contents would cost more than painting.
DEPENDS: dict[Changed, Callable[[Scene], tuple[object, ...]]] = {
    Changed.TITLE: lambda scene: (
        id(scene.columns.store),
        scene.counts,
        scene.control,
        scene.state.thresholds,
        scene.status,
        scene.spent,
        scene.scanning,
    ),
    Changed.LAYERS: lambda scene: (
        id(scene.columns.store),
        scene.counts,
        scene.control,
        scene.state.thresholds,
        scene.state.neuron.layer,
        scene.noted.triaged,
        scene.scanning,
    ),
    Changed.LIST: lambda scene: (
        id(scene.columns.store),
        id(scene.columns.labels),
        id(scene.columns.concepts),
        scene.has_concepts,
        id(scene.selection),
        scene.cursor,
        scene.listed,
        id(scene.noted),
        id(scene.picked),
        scene.state.filter,
        scene.state.order,
        scene.state.neuron.layer,
    ),
    Changed.PAGE: lambda scene: (
        id(scene.columns.store),
        id(scene.columns.labels),
        scene.listed,
        scene.stale,
        id(scene.picture),
        id(scene.beside),
        scene.problem,
        scene.firmness,
        id(scene.facts),
        id(scene.meaning),
        id(scene.score),
        id(scene.ablation),
        id(scene.check),
        id(scene.sheet) if scene.state.mode is Mode.SHEET else None,
        # As in the page's ``waiting``: the phase, not the progress of loading, which is shown in the title alone.
        scene.status.phase if scene.asking and _lacks_map(scene) else None,
        scene.state.neuron,
        scene.state.rank,
        scene.state.own is None,
        scene.state.pinned,
        scene.state.mode,
        scene.state.colour_map,
        scene.state.cover,
        scene.state.pointer,
        scene.state.ablating,
    ),
    Changed.KEYS: lambda scene: (
        scene.state.filter if scene.state.left is not None else None,
        scene.working,
        scene.count,
        scene.batch,
        id(scene.picked),
        scene.cursor if scene.picked is not None else None,
        scene.state.own,
        scene.state.pane,
        scene.state.mode,
        scene.state.pointer.on_words,
        scene.picture is not None and scene.picture.covers > 1,
    ),
}


def _lacks_map(scene: Scene) -> bool:
    """Whether the page's picture has no map, or that of the pinned neuron beside it."""
    if scene.picture is None or scene.picture.visual is None:
        return True
    return scene.beside is not None and scene.beside.visual is None


def changed_parts(old: Scene, new: Scene) -> Changed:
    """The parts of the screen that show something else of ``new`` than of ``old``."""
    changed = Changed.NOTHING
    for part, depends in DEPENDS.items():
        if depends(old) != depends(new):
            changed |= part
    return changed
