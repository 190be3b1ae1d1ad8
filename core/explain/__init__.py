"""Explains a neuron: gathers evidence, asks a language model, reads its answer."""
