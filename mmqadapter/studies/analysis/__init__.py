"""Studies of trained adapters: loss landscape, noise, distribution, quantisation error."""
