"""From a picture to a model's input, and which pixels each cell of its grid belongs to."""
