"""What is on the screen as files: pictures, drawings, tables, and the Python that gives the same numbers."""
