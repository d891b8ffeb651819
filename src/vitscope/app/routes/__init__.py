"""The addresses of the app: every read is a pure GET, so that its answer can be written into a file."""
