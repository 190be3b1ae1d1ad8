"""Measures the scan, the scores and contrasts, beside baselines of their own."""
