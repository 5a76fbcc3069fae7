"""How a ``.pth`` is read, in one place."""
