"""What fits into a budget of bytes: bits and widths of adapters, before anything is trained."""
