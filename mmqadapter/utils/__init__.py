"""Files, text, counts, shards, random states: what every room may use and none of them knows."""
