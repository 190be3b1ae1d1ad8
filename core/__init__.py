"""What vlmscope can do without a screen: scan, label, store, read, and ask a model. Never imports Textual."""
