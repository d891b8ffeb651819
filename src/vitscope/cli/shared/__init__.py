"""What several commands need: options, opening a model, the terminal."""
