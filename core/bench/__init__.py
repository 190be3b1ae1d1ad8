"""Measures the scan and the scores, beside baselines of their own."""
