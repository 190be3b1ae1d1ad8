"""Verdicts, notes and explanations of one scan, in one SQLite file where every change is an event."""
