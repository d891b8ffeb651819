"""One forward or backward pass: set up, run, watched, put back."""
