"""The web app: what the library gives, as answers to HTTP requests, for one person at one browser.

It computes nothing that the library does not. ``answers`` turns results into bytes, ``work`` holds the one process
that owns the model, ``pictures`` what can be looked at, ``routes`` the addresses, ``security`` who may ask.
``answers`` and ``tensors`` need no web server, so that a notebook shows the same.
"""
