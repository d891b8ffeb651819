"""Options declared once, by annotations: their kinds and bounds, and the door at which every value is checked."""
