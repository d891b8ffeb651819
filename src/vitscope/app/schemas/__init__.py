"""What the answers look like, declared once: the server checks by it, and the page's client is made from it."""
