"""How studies of older schemas become studies of the newest: a list of steps, and what writes them down."""
