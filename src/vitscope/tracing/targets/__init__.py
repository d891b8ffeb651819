"""What is explained: the one number per picture that is computed from what a model returns."""
