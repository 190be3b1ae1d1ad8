"""Times and sizes that decide what waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """The screen's times, in seconds, and one size.

    Attributes:
        rest_s: keys that come faster than this are a held key: what costs more than a list row waits until they rest.
        ask_after_s: how long the cursor rests before the model is asked.
        look_s: how often others' changes to the notebook are looked for.
        follow_s: how often a scan in progress is looked at.
        count_s: how long after a verdict's digit a 0 makes both a count.
        small: neurons that are labelled and sorted at once; more of them in a thread.
    """

    rest_s: float = 0.12
    ask_after_s: float = 0.15
    look_s: float = 3.0
    follow_s: float = 2.0
    count_s: float = 1.0
    small: int = 20_000
