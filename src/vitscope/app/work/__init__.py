"""The one process that owns the model, the queue before it, and what is kept of its answers."""
