"""Agreement between people in ``vlmscope stats`` and ``vlmscope merge-notes``."""

from collections.abc import Iterator, Sequence

from rich.text import Text

from vlmscope.core.analysis.agreement import Agreement, agreements
from vlmscope.core.base.errors import VlmscopeError
from vlmscope.core.base.text import plain
from vlmscope.core.store.reader import ScanStore
from vlmscope.tui.commands.shared import output
from vlmscope.tui.commands.shared.notes import note
from vlmscope.tui.commands.shared.open_arg import kept_notebook

PERSON = 24  #: characters of a name


def agreements_of(store: ScanStore) -> tuple[Agreement, ...]:
    """With each colleague whose notes were taken in; none where the notebook cannot be read, which goes to stderr."""
    try:
        with kept_notebook(store) as notebook:
            return () if notebook is None else agreements(notebook)
    except VlmscopeError as error:
        note(f"without the notebook: {error.message}")
        return ()


def agreement_json(one: Agreement) -> dict[str, object]:
    kappa = one.kappa
    return {
        "person": one.colleague.person,
        "source": one.colleague.source,
        "taken_in": one.colleague.created,
        "own_decided": sum(pair.own is not None and pair.own.verdict is not None for pair in one.pairs),
        "other_decided": sum(pair.other is not None and pair.other.verdict is not None for pair in one.pairs),
        "both_decided": kappa.count,
        "same": kappa.same,
        "by_chance": kappa.expected,
        "kappa": kappa.value,
        "interval": None if kappa.low is None else [kappa.low, kappa.high],
        "conflicts": [str(pair.neuron) for pair in one.conflicts],
    }


def agreement_line(one: Agreement) -> str:
    """All of it but the conflicts' addresses in one line."""
    kappa, person = one.kappa, plain(one.colleague.person, PERSON)
    if not kappa.count:
        return f"agreement with {person}: no neuron that both of you decided on"
    neurons = f"{kappa.count:,} neuron{'' if kappa.count == 1 else 's'}"
    text = f"agreement with {person}: {kappa.same:,} of {neurons} decided alike ({kappa.expected:.0%} by chance)"
    if kappa.value is None:
        return f"{text}, kappa undefined: both of you decided one thing only"
    if kappa.low is None:
        return f"{text}, kappa {kappa.value:.2f}"
    return f"{text}, kappa {kappa.value:.2f} (95 % {kappa.low:.2f} to {kappa.high:.2f})"


def agreement_lines(found: Sequence[Agreement]) -> Iterator[Text]:
    for one in found:
        yield output.row(agreement_line(one))
