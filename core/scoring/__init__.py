"""Scores an explanation: predicts activations from its words alone and correlates them with the true ones."""
