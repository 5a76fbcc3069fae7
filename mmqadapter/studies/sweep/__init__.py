"""Methods x seeds x learning rates trained on a user's own data, and the report of their scores."""
