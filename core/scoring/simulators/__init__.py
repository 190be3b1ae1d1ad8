"""One file for each simulator, and the registry that names them."""
