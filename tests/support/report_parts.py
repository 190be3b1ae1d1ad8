"""A notebook to report on, for the tests of reports and of their commands."""

from vlmscope.core.base.neuron import Neuron
from vlmscope.core.notebook.explanation import Confidence, Explanation, FailedExplanation, Source
from vlmscope.core.notebook.notebook import Notebook, notebook_path
from vlmscope.core.notebook.values import Verdict
from vlmscope.core.store.reader import ScanStore

KEPT = (Neuron(0, 3), Neuron(2, 1), Neuron(2, 17))
REJECTED = Neuron(1, 5)
UNDECIDED = Neuron(3, 30)  #: only bookmarked
WHEN = "2026-11-22T10:00:00+00:00"
BODY = {
    "format": 1,
    "scores": {
        "visual": {
            "top": {
                "pooled": 0.612,
                "reason": "",
                "interval": [0.5, 0.701],
                "interval_kind": "bootstrap",
                "planned": 20,
                "counted": 19,
                "baseline": 0.1,
            },
            "top+random": {
                "pooled": None,
                "reason": "the predicted activation is 0 everywhere",
                "interval": None,
                "interval_kind": None,
                "planned": 40,
                "counted": 38,
                "baseline": None,
            },
        }
    },
    "samples": [{"sample": 1, "rank": 2, "visual": {"score": 0.5, "reason": ""}}],
}


def explanation(text: str = "trains", source: Source = Source.API) -> Explanation:
    """An API's explanation, or one of a person or the paper."""
    if source is not Source.API:
        return Explanation(text, source, WHEN)
    return Explanation(
        text,
        source,
        WHEN,
        visual_phrases=("train", "rail"),
        text_cue="names of trains",
        confidence=Confidence.HIGH,
        model="gpt-4o-2024-08-06",
        prompt_version="explain-1",
        samples=(1, 2, 3),
        input_tokens=900,
        output_tokens=40,
        cost_usd=0.01,
    )


def open_notebook(store: ScanStore) -> Notebook:
    """The scan's notebook in the test's own data folder."""
    scan_id = store.manifest.scan_id
    return Notebook.open(notebook_path(scan_id, store.folder, "data"), scan_id)


def triage(notebook: Notebook, text: str = "trains") -> None:
    """Three neurons kept, of which the first has everything; one rejected, one only bookmarked.

    Args:
        text: stands wherever a person or an API may write what they want; a tag takes only some of it.
    """
    for neuron in KEPT:
        notebook.set_verdict(neuron, Verdict.KEEP)
    first = KEPT[0]
    leading = notebook.add_explanation(first, explanation(text))
    notebook.add_score(leading, "lens", BODY, WHEN)
    notebook.add_explanation(first, explanation(text, Source.USER))
    notebook.add_explanation(first, explanation(text, Source.PAPER))
    notebook.choose_explanation(first, leading)
    notebook.set_note(first, text)
    notebook.set_tags(first, ("To check", "rails"))
    notebook.set_bookmark(first, True)
    notebook.add_failure(KEPT[1], FailedExplanation(text, True, "gpt-4o", WHEN))
    notebook.set_verdict(REJECTED, Verdict.REJECT)
    notebook.set_tags(REJECTED, ("rails",))
    notebook.set_bookmark(UNDECIDED, True)
