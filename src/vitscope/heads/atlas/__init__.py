"""What heads look at: attention maps sampled, coded, clustered and named."""
