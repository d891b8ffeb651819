"""Opening a model: its weights, names of its classes, and what it says of itself."""
