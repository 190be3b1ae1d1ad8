"""English words that do not describe what is in a picture: they are not concepts."""

STOP_WORDS = frozenset(
    """
    about above across after again against all almost along alongside also although always am among amongst an and
    another any anyone anything appear appears are aren't around as at away
    be because been before behind being below beneath beside besides between beyond both but by
    can can't cannot come could couldn't
    did didn't do does doesn't doing don't done down due during
    each either else enough especially etc even ever every everyone everything
    few for from further
    gets give gives go goes going
    had has hasn't have haven't having he he's her here hers herself him himself his how however
    if in indeed inside instead into is isn't it it's its itself
    just
    kind
    less let let's like likely
    made make makes making many may maybe me might mine more most mostly much must my myself
    near nearby neither never no nobody none nor not nothing now
    of off often on once one ones only onto or other others our ours out outside over overall own
    per perhaps possibly probably
    quite
    rather really
    same seem seemingly seems seen several shall she should since so some someone something sometimes somewhat such
    than that that's the their theirs them themselves then there there's these they they're this those though through
    throughout thus to together too toward towards
    under unless until up upon us
    various very via
    was wasn't we well were weren't what when where whether which while who whom whose why will with within without
    won't would wouldn't
    yes yet you your yours yourself
    """.split()  # noqa: SIM905  # so that it can be read
)
