"""The lines around the panes: the title and the footer of keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.style import Style
from textual.strip import Strip

from vlmscope.core.method.labels import Label, Thresholds
from vlmscope.core.worker.messages import ModelStatus, Phase
from vlmscope.tui.keys import BY_ID, FOOTER, FOOTER_END, FooterItem, keys_of
from vlmscope.tui.views.scene import LayerCounts, Scene
from vlmscope.tui.views.state import Mode, Pane, State
from vlmscope.tui.widgets.lines import Lines, Span, row, short
from vlmscope.tui.widgets.numbers import percent, short_shares
from vlmscope.tui.widgets.palette import Palette


def status_text(status: ModelStatus) -> str:
    """The model's state in a few words."""
    if status.phase is Phase.LOADING and status.progress is not None:
        return f"{status.phase} {100 * status.progress:.0f}%"
    if status.phase is Phase.BUSY and status.detail:
        return f"{status.phase}: {short(status.detail, 24)}"
    return str(status.phase)


def in_all(counts: LayerCounts) -> list[int]:
    """The label counts of all layers together."""
    return [sum(column) for column in zip(*counts, strict=True)]


class TitleBar(Lines[Scene]):
    """One line: which scan this is, its label shares, the thresholds and the model's state."""

    def paint(self, view: Scene, palette: Palette) -> list[Strip]:
        width = self.size.width
        counts, progress = in_all(view.counts), view.scan_progress
        shares: list[Span] = [
            (f"{label.letter} {percent(count, sum(counts))}  ", palette.labels[label])
            for label, count in zip(Label, counts, strict=True)
        ]
        control: list[Span] = []
        if view.control_counts is not None:
            beside = short_shares(in_all(view.control_counts), palette)
            control = [("control ", palette.muted), *beside, ("  ", palette.text)]
        t = view.state.thresholds
        limits = [*thresholds(t, view.columns.store.manifest.thresholds.value(), palette), (" ", palette.text)]
        spent: list[Span] = [(f"{view.spent}  ", palette.warning)] if view.spent else []
        failed = view.status.phase is Phase.FAILED
        model: list[Span] = [("model: ", palette.muted)]
        model.append((status_text(view.status), palette.warning if failed else palette.text))
        usual = [*limits, *spent, *model]
        idents = _idents(view)
        # The control's shares stand beside, unless nothing but the name would be left of what the scan is.
        tries = [(ident, [*control, *usual]) for ident in idents[:-1]] if control else []
        tries += [(ident, usual) for ident in idents]
        if view.status.phase is Phase.OFF:
            # A scan's progress matters more than that there is no model yet.
            tries += [(words, [*limits, *spent]) for words in progress]
        tries += [(words, right) for words in progress for right in (usual, [*spent, *model])]
        for ident, beside_it in tries:
            right = [*shares, *beside_it, (" ", palette.text)]
            need = sum(len(text) for text, _ in right)
            for brand in (" vlmscope  ", " "):
                free = width - len(brand) - len(ident) - need
                if free >= 2:
                    left = [(brand, palette.accent), (ident, palette.text), (" " * free, palette.text)]
                    return [row([*left, *right], width)]
        return [row([(" ", palette.text), *shares, *usual], width)]


def thresholds(now: Thresholds, own: Thresholds, palette: Palette) -> list[Span]:
    """The thresholds; those that are not the scan's ``own`` are marked."""
    named = {"Tv": "T_v", "nv": "n_v", "Tt": "T_t", "nt": "n_t", "high": "high_confidence"}
    spans: list[Span] = []
    for name, field in named.items():
        value, changed = getattr(now, field), getattr(now, field) != getattr(own, field)
        if changed or name != "high":  # which is not shown where it is the scan's
            spans.append((f"{name} {value:g}{'*' if changed else ''} ", palette.warning if changed else palette.text))
    return spans


def _idents(scene: Scene) -> list[str]:
    """Which scan this is, the longest text first."""
    manifest = scene.columns.store.manifest
    name, model, hook = short(scene.scan_name, 24), short(manifest.model.name, 36), manifest.read_at
    count, last = f"{manifest.scanned} samples", name
    skipped = f" (skipped {len(manifest.skipped)})" if manifest.skipped else ""
    shorter = [f"{name} · {hook} · {manifest.scanned}{skipped and f' +{len(manifest.skipped)}'} · N {manifest.top_n}"]
    if scene.scan_progress:
        count, shorter = scene.scan_progress[0], []
        last = f"{name} · {count}"
    rest = f"{hook} · {count}{skipped} · N {manifest.top_n}"
    return [f"{name} · {model} · {rest}", f"{name} · {rest}", *shorter, last]


COVER: FooterItem = next(item for item in FOOTER if item[0] == ("cover",))


_SHEET: tuple[FooterItem, ...] = (
    (("sample.previous", "neuron.next", "neuron.previous", "sample.next"), "choose"),
    (("page",), "zoom"),
    (("text.down", "text.up"), "neuron"),
    (("layer.previous", "layer.next"), "layer"),
    (("back",), "back"),
)


def footer(scene: Scene, *, narrow: bool) -> tuple[FooterItem, ...]:
    """What the footer shows first; ``narrow``: list and page take turns."""
    texts = [f"{scene.count} …" if scene.count else "", scene.batch, _picked(scene)]
    first: list[FooterItem] = [((), text) for text in texts if text]
    state = scene.state
    if state.mode.asks:
        first += _asking(state)
    elif state.own is not None:
        first.append((("back",), f"leave {state.own.image.rpartition('/')[2][:20]}"))
    elif scene.working:
        in_view = state.mode is not Mode.PICTURES or (narrow and state.pane is Pane.PAGE)
        first.append((("back",), "back" if in_view else "stop"))
    elif state.left is not None and not (narrow and state.pane is Pane.PAGE):
        first.append((("back",), f"leave {short(str(state.filter), 24)}"))
    if state.mode is Mode.SHEET:
        return _SHEET
    if state.mode is Mode.POINT:
        return tuple(first)
    if narrow:
        first.append((("page",), "page") if scene.state.pane is Pane.LIST else (("pane",), "list"))
    if scene.picture is not None and scene.picture.covers > 1:
        return (*first, *FOOTER[:3], COVER)
    return (*first, *FOOTER[:2])


def _picked(scene: Scene) -> str:
    """How many neurons are picked."""
    if scene.picked is None:
        return ""
    count = len(scene.picked.flat(scene.selection, scene.cursor))
    return f"range: {count:,} picked" if scene.picked_rows is not None else f"{count:,} picked"


def _asking(state: State) -> list[FooterItem]:
    """The keys of a page that asks something of the picture."""
    back: FooterItem = (("back",), "back")
    if state.mode is Mode.POINT:
        moves = ("sample.previous", "neuron.next", "neuron.previous", "sample.next")
        other = "picture" if state.pointer.on_words else "words"
        return [(moves, "point"), (("pane",), other), (("page",), "neurons here"), back]
    if state.mode is Mode.ABLATION:
        return [back, (("command",), "ablate x3 …"), (("check",), "check")]
    return [back, (("command",), "check WORD"), (("ablate",), "ablate")]


@dataclass(frozen=True)
class Hint:
    """Keys that stand together, and their word.

    Attributes:
        keys: each with the call that a click on it runs.
        between: what stands between two keys.
        call: of a click on the word; empty where it names no single one of the keys.
    """

    keys: tuple[tuple[str, str], ...]
    word: str
    call: str
    between: str = ""

    @classmethod
    def of(cls, key: str, word: str, call: str) -> "Hint":
        """One key."""
        return cls(((key, call),), word, call)

    @property
    def width(self) -> int:
        """Cells, with the blanks around the word."""
        return sum(len(key) for key, _ in self.keys) + len(self.between) * (len(self.keys) - 1) + len(self.word) + 3


def clickable(hints: Iterable[Hint], width: int, palette: Palette) -> list[Span]:
    """As many hints as fit, the first ones first; a click on a key or a word does what it names."""
    parts: list[Span] = []
    for hint in hints:
        width -= hint.width
        if width < 0:
            break
        if not hint.keys:
            parts.append((f"{hint.word}  ", palette.strong))
            continue
        for at, (key, call) in enumerate(hint.keys):
            parts.append((hint.between if at else "", palette.accent))
            parts.append((key, palette.accent + _click(call)))
        parts.append((f" {hint.word}  ", palette.muted + _click(hint.call)))
    return parts


def _click(call: str) -> Style:
    return Style.from_meta({"@click": call if "." in call else f"screen.{call}"}) if call else Style()


class KeyBar(Lines[tuple[FooterItem, ...]]):
    """The footer: the keys that matter most now, as many as fit, then help and quit; a click does the same."""

    def __init__(self, remapped: Mapping[str, str], *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._remapped = remapped

    def paint(self, view: tuple[FooterItem, ...], palette: Palette) -> list[Strip]:
        width = self.size.width
        last = clickable(map(self._hint, FOOTER_END), width, palette)
        shown = {one for ids, _ in view for one in ids}
        items = [*view, *(item for item in FOOTER if not shown & set(item[0]))]
        room = width - 1 - sum(len(text) for text, _ in last)
        return [row([(" ", palette.text), *clickable(map(self._hint, items), room, palette), *last], width)]

    def _hint(self, item: FooterItem) -> Hint:
        ids, word = item
        spelled = [(keys_of(one, self._remapped)[0], BY_ID[one].call) for one in ids]
        between = " " if spelled and spelled[0][0] == "[" else "/"
        # The word of a pair goes forward, which is what a click most often wants; of more keys it names none.
        forward = next((one for one in ids if one.endswith("next")), ids[-1] if ids else "")
        return Hint(tuple(spelled), word, BY_ID[forward].call if 0 < len(ids) < 3 else "", between)
