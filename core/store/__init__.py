"""A scan on disk: manifest, arrays, samples, checkpoints, shards."""
