"""What can be asked of a model and what it answers, and the opened model with what it was asked last."""
