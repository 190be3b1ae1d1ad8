"""Predict a neuron's activations from an explanation alone, to see what the explanation is worth."""
