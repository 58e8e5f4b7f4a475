"""Programs on top of the library: benchmarks, preflight, suggestions, studies."""
