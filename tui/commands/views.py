"""``vlmscope views``: the saved views, listed or deleted."""

from typing import Annotated

import typer

from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.options import JsonOption
from vlmscope.tui.commands.shared.views import names_of_views
from vlmscope.tui.views.saved import SavedView, delete_view, saved_views


def views(
    *,
    delete: Annotated[
        str | None,
        typer.Option("--delete", metavar="NAME", help="Forget this view.", autocompletion=names_of_views),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List saved views: a filter, an order and thresholds under a name.

    :save-view NAME on the screen makes one, of any scan and for any scan.
    :view NAME shows it there; labels --neurons, explain, simulate, score,
    check and export take it with --view NAME.
    """
    if delete is not None:
        delete_view(delete)
        note(f"the view {delete} is forgotten")
    found = saved_views()
    if json:
        output.write_json([_as_json(name, view) for name, view in found.items()])
    elif found:
        width = max(len("view"), *map(len, found))
        lines = [output.row(f"{'view':<{width}}  order       filter")]
        for name, view in found.items():
            listed = view.listed
            limits = "" if view.thresholds is None else f"  at {_thresholds_text(view)}"
            lines.append(output.row(f"{name:<{width}}  {listed.order:<10}  {listed.filter.line or 'all'}{limits}"))
        output.write_lines(lines)
    else:
        note("There is no saved view: :save-view NAME on the screen makes one.")


def _thresholds_text(view: SavedView) -> str:
    at = view.thresholds
    return "" if at is None else f"Tv {at.T_v:g} nv {at.n_v} Tt {at.T_t:g} nt {at.n_t} high {at.high_confidence:g}"


def _as_json(name: str, view: SavedView) -> dict[str, object]:
    return {
        "name": name,
        "filter": view.listed.filter.line,
        "order": str(view.listed.order),
        "thresholds": None if view.thresholds is None else vars(view.thresholds),
    }
