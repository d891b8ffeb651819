"""Who may ask: the machine's own browser, under its own name, from the app's own page; others with a token."""
