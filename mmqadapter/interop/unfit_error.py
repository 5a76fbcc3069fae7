"""Error of content that does not fit another format."""


class UnfitError(ValueError):
    """Reason why content does not fit a format; the caller catches it and adds the file's name."""
