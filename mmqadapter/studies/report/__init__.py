"""Tables, plots and pages of benchmarks, sweeps and analyses."""
