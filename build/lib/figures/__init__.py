"""The book's drawings, one module each: `draw(...)` makes it, and `python -m figures.NAME` writes its SVG."""
