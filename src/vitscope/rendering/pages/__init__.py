"""Self-contained HTML pages: markup, tables and the page itself."""
