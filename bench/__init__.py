"""Benchmarks. `make bench` runs bench/run.py, `make soak` bench/soak.py; docs/performance.md explains both."""
