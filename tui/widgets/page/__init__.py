"""The parts of the neuron page."""
