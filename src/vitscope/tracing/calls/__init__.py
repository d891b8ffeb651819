"""Calling the user's model: nothing of it and nothing of the caller is left changed."""
