"""What may be changed inside a running model: heads and tokens away, and other backward rules."""
