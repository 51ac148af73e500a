"""Published benchmarks: their labels, their protocols, their published figures."""
