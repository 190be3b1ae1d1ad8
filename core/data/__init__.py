"""Images, the lists that name them, and the descriptions that a model has written of them."""
