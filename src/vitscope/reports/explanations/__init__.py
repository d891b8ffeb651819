"""Explanations as a page of cards, one for each picture."""
