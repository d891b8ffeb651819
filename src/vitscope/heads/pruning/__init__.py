"""Heads taken away, one, several or in part: what it changes, and which heads therefore matter."""
