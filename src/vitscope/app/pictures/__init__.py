"""The pictures that can be looked at: those of the study, and those that were added, each by an id of its content."""
