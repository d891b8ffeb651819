"""The analyses of heads as plots and as a page."""
