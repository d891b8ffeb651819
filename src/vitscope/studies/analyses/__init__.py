"""Analyses of a study, each in one file: what is made of a batch, and what is left of a shard."""
