"""Learning a model's anatomy by watching one small pass."""
