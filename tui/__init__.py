"""The terminal: the Textual app and the command line. Never imports torch."""
