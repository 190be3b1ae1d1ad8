"""The scan: one pass over the data that keeps the top samples of every neuron. Imports torch."""
