"""A saved view in commands: its neurons, in its order."""

from dataclasses import replace
from typing import Any

import numpy as np
import typer

from vlmscope.core.analysis.published import published
from vlmscope.core.analysis.statistics import labels_at
from vlmscope.core.base.neuron import Neuron
from vlmscope.core.method.labels import Labels
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared.open_arg import kept_notebook
from vlmscope.tui.views.columns import Columns, Noted, compute
from vlmscope.tui.views.noted import read_hits, read_noted, with_paper
from vlmscope.tui.views.saved import saved_view, saved_views
from vlmscope.tui.views.selection import check_there, select
from vlmscope.tui.views.state import Listed


def names_of_views(begin: str) -> list[str]:
    """For the shell's completion."""
    return [name for name in saved_views() if name.startswith(begin)]


def view_option(help_: str, panel: str | None = None) -> Any:
    return typer.Option("--view", metavar="NAME", help=help_, rich_help_panel=panel, autocompletion=names_of_views)


def neurons_of_view(store: ScanStore, name: str, labels: Labels | None = None) -> list[Neuron]:
    """The neurons that a saved view lists; of all layers where it lists the layer that is on the page.

    Args:
        labels: of the scan; None: at the view's thresholds.

    Raises:
        UsageError: if there is no such view.
        StoreError: if the scan lacks what it asks for.
        NotebookError: if the notebook cannot be read.
    """
    view = saved_view(name)
    filter_, order = replace(view.listed.filter, all_layers=view.listed.filter.layers is None), view.listed.order
    layers, neurons, paper = store.layers, store.neurons, published(store.manifest)
    columns = Columns(store, labels_at(store, view.at(store)) if labels is None else labels, store.concepts)
    with kept_notebook(store) as notebook:
        noted = Noted.empty(layers, neurons) if notebook is None else read_noted(notebook, layers, neurons)
        check_there(columns, Listed(filter_, order), has_texts=noted.anything or bool(paper))
        hits = {} if notebook is None else dict(read_hits(notebook, filter_, layers, neurons))
    term = (None, filter_.words)
    hits[term] = with_paper(hits.get(term, np.zeros(0, dtype=np.int64)), filter_.words, paper, neurons)
    compute(columns, filter_, order)
    rows = select(columns, noted, filter_, order, 0, hits)
    return [rows.at(row) for row in range(len(rows))]
