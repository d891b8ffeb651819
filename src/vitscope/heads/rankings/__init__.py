"""Scores of heads, and how far rankings of heads agree."""
