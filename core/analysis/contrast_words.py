"""A contrast in words: what was found, and what its panel cannot show."""

from collections.abc import Iterator

from vlmscope.core.analysis.contrast import FEW, FOUND_AT, Contrast
from vlmscope.core.analysis.groups import Group
from vlmscope.core.base.text import counted
from vlmscope.core.method.rank_sum import least_p


def caveats(found: Contrast, groups: tuple[Group, Group]) -> Iterator[str]:
    """What the panel cannot show, a sentence each."""
    if found.in_panel is None:
        yield "The scan has no panel of random samples: there is enrichment in the top samples alone."
        return
    for group, size in zip(groups, found.in_panel, strict=True):
        if not size:
            yield f"No sample of {group} is in the panel: there is enrichment in the top samples alone."
        elif size < FEW:
            yield f"The panel has only {counted(size, 'sample')} of {group}: its differences rest on few."
    if found.has_panel:
        least = least_p(*found.in_panel) * found.neurons
        if least > FOUND_AT:
            yield f"The panel has so few that no difference can reach q {FOUND_AT:g}; the least is {min(least, 1):.2g}."


def group_words(found: Contrast, groups: tuple[Group, Group], shared: int = 0) -> list[str]:
    """Both groups with how many samples each has, and how many ``shared`` ones are left out."""
    panels = ("", "") if found.in_panel is None else tuple(f", {size:,} in the panel" for size in found.in_panel)
    rows = zip("ab", groups, found.samples, panels, strict=True)
    lines = [f"{name}: {group}, {counted(samples, 'sample')}{panel}" for name, group, samples, panel in rows]
    return [*lines, f"left out, as both have them: {counted(shared, 'sample')}"] if shared else lines


def found_words(found: Contrast) -> str:
    """How many neurons of all have a q of ``FOUND_AT`` or less."""
    text = f"{found.enriched:,} of {found.neurons:,} neurons have more of a among their top samples, "
    text += f"{found.depleted:,} fewer"
    if found.has_panel:
        text += f"; on the panel {found.different:,} of the first {found.looked_at:,} differ"
    return text


def odds_text(ratio: float) -> str:
    """An odds ratio in two digits or more."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}"


def p_text(p: float) -> str:
    """Two digits, or below what a float64 holds."""
    return f"{p:.2g}" if p > 0 else "<1e-300"
