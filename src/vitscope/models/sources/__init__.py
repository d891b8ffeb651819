"""The places that models come from, one file each."""
