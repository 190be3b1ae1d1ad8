"""The browse screen: one session behind it, one controller for each of its subjects."""
