"""Frozen values that the screen is painted from. None imports Textual."""
