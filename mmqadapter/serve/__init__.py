"""A page to try task files in: pictures in, overlays, scores and times out."""
