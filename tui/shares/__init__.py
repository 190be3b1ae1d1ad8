"""The screen of label shares by layer."""
