"""Many changed copies of one batch, each run again only from the block on that was changed."""
