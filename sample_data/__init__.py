"""The demo: a trained tiny LLaVA, its pictures, its finished scan, and the recipe that made them. Read-only."""
