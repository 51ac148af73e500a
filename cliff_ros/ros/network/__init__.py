"""`cliff doctor --network`: what this machine hears (listen.py), and what is likely wrong with it (faults.py)."""
