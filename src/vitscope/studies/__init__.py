"""Studies: thousands to millions of pictures, in shards that survive whatever stops a run."""
