"""Memory, time and size of ways to tune a backbone, measured on a user's own config and machine."""
