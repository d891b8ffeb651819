"""From results to what a person looks at: overlays, sheets, strips, cards and pages."""
