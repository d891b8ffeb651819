"""What opening a model takes, whatever its source: weights, class names, the metadata that it carries."""
