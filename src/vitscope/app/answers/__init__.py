"""Results of the library as what a page reads: arrays by name, and plain values beside them; without a web server."""
