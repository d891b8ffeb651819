"""From pictures to an explanation: one trace for all methods that can share it."""
