"""The words that the screen shows, each in one sentence: the six that all else rests on, and those to look up."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        name: as the help writes it.
        means: one sentence, or two.
        seen: a regular expression that finds it on the screen; empty for a word that is always explained.
    """

    name: str
    means: str
    seen: str = ""

    def on(self, screen: str) -> bool:
        """Whether it is on a screen, of which this is all the text."""
        return bool(self.seen) and re.search(self.seen, screen) is not None


SIX = (
    Term("vote", "the class of one top sample: visual, text, both (multimodal) or neither (unknown)"),
    Term("label", "what most of a neuron's top samples vote for: V visual, T text, M multimodal, · unknown"),
    Term("norm", "an activation from 0 to 10, where 10 is the neuron's maximum over all data; negatives are 0"),
    Term("thresholds", "Tv, Tt: norms above which a patch or a word is active; nv, nt: how many of them make a vote"),
    Term("concept", "a word that stands out in the descriptions of the top samples, with its strength"),
    Term("purity", "the share of the first 20 top samples whose description has the leading concept"),
)

TERMS = (
    # the title and the list
    Term("N 50", "each neuron's 50 top samples are kept: those on which it activates most", r"\bN \d+\b"),
    Term("gate", "the hook point: the activation is read after the FFN's activation function", r"\bgate\b(?!_)"),
    Term("gate_up", "the hook point: gate times up, what is multiplied by the output weights", r"gate_up"),
    Term("control", "a scan of the same samples through random weights, beside this scan", r"\bcontrol\b"),
    Term("scanning, stopped", "the scan is not whole: all is on its samples so far", r"\b(scanning|stopped at)\b"),
    Term("model: not loaded", "nothing here needs the model yet; what does loads it", r"model: not loaded"),
    Term("high, high-confidence", "more than 80 % of the votes agree (:high-confidence 0.7 changes that)", r"\bhigh\b"),
    Term("fragile", "another label if Tv or Tt moves by a tenth, or a tie", r"\bfragile\b"),
    Term("L3/N96+, L3/N96-", "the positive and the negative pole of a unit, each a neuron here", r"/N\d+[+-]"),
    Term("tie", "two labels have the same number of votes", r"\btie\b"),
    Term("max", "the neuron's largest activation over all tokens of all samples: the norm 10", r"\bmax\b"),
    Term(
        "✓ ✗ ? b *",
        "in the list: kept, rejected, unsure; bookmark; a neuron that the paper shows",
        r"[✓✗]|^.{0,12}[b*] ",
    ),
    Term("n t + e s !", "in the list: note, tags, both; explained, scored, a request that failed", ""),
    Term("triaged", "neurons with a verdict: ✓ kept, ✗ rejected, ? unsure", r"\btriaged\b"),
    Term("not in this filter", "the neuron on the page is not one of the list's", r"not in this filter"),
    # the page
    Term("≈", "read from a map of 8 bits; votes, labels and activations are exact", "≈"),
    Term("2.8 > 2", "a norm against its threshold: above it, or not (≤)", r"\d [>≤] \d"),
    Term(
        "4th of 576 patches",
        "the nv-th largest norm: above Tv, the sample is visual; so with words",
        r"\d(st|nd|rd|th)\b",
    ),
    Term("weaker", "the share of the panel's samples that activate the neuron less than this one", r"\bweak"),
    Term("panel", "samples drawn at random before the scan: what the neuron does on any picture", r"\bpanel\b"),
    Term("dim, fade, viridis, grey", "the heatmap's colours, by norm; m changes them", r"\b(dim|fade|viridis|grey)\b"),
    Term("Tv on the scale", "the norm from which a patch is active; such patches are outlined", r"\bTv [^\d ]"),
    Term("small maps", "stored of more samples than the exact ones, with fewer patches and steps", r"small maps"),
    Term("peak", "the largest norm of the map", r"\bpeak\b"),
    Term("silent here", "no patch is above 0", r"silent here"),
    Term("peaks", "words at which the neuron activates most in its top samples, with how many have it", r"\bpeaks\b"),
    Term("base", "the share of all samples whose description has the word: what purity is by chance", r"\(base "),
    Term(
        "promotes, writes",
        "tokens whose logits the output weights raise most: a first-order reading",
        r"promotes|writes",
    ),
    Term("against", "tokens whose logits the output weights lower most", r"\bagainst\b"),
    Term("active", "the share of all patches, or words, whose activation is above 0", r"% active"),
    Term("explained", "a short text of what the neuron responds to, with who wrote it", r"\bexplained\b"),
    Term("margin", "the leading label's share of votes less the second's", r"\bmargin\b"),
    Term("sign test", "how probable so clear a majority is if both labels were as likely", r"sign test"),
    Term("95%", "the interval that holds the value in 95 of 100 such draws", r"95 ?%"),
    # scores
    Term(
        "score", "Pearson's correlation of the true activations with those predicted from the explanation", r"\bscore\b"
    ),
    Term(
        "others",
        "the mean score of other neurons' explanations on the same samples: what any text reaches",
        r"\bothers\b",
    ),
    Term(
        "ceiling",
        "the score of the best weights over all known objects: no explanation in words is higher",
        r"\bceiling\b",
    ),
    Term("not independent", "the simulator asks the inspected model about itself", r"not independent"),
    Term(
        "with the concept",
        "the score on samples that hold the concept: whether the place is right, too",
        r"with the concept",
    ),
    Term(
        "AUC, accuracy", "how well a judge tells activating samples from others; 0.5 is chance", r"\b(AUC|accuracy)\b"
    ),
    # interventions and pointing
    Term("log-odds", "how sure the model is of a token: the logarithm of p / (1 - p), and its change", r"log-odds"),
    Term("KL", "how much all other tokens change, in nats", r"\bKL\b"),
    Term(
        "matched",
        "neurons of the layer that write as much on these pictures: what a check compares with",
        r"\bmatched\b",
    ),
    Term("controls", "what the matched neurons, or sets, do to the word", r"\bcontrols\b"),
    Term("bar", "the activation over the score of its last top sample: from 1 on it would be one", r"\bbar\b"),
    Term("shared", "top samples that two neurons have in common", r"\bshared\b"),
)
