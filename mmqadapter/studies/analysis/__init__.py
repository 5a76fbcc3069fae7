"""Studies of trained adapters: loss landscape, noise, weight distribution, quantization error."""
