"""What several commands share: options, output, progress bars, how a scan or a neuron is named."""
