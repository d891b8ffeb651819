"""The app as a folder of files that any web server can show: the answers to all that can be asked without a model."""
