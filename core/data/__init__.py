"""Images, the files that list them, and cached descriptions that a model has written."""
