"""Explanations as a widget of a notebook: the app's own map, strip and menus, fed by the kernel and not by a server."""
