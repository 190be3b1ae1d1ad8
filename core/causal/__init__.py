"""Interventions: what removing neurons does, checked against matched neurons."""
