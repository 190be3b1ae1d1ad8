"""Whole screens, and what the browse screen knows: its state, its selection of neurons, its talk with the model."""
