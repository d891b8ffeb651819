"""Plots of numbers: curves, bars, scatter plots and matrices."""
