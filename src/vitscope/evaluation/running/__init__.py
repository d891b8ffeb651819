"""Running an evaluation: what is evaluated on, who takes part, and the run itself, part by part."""
