"""Seeing every attention call of a running model, fused or eager, without touching its modules."""
