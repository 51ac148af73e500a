"""What keeps the node alive: parameters, threads, guards, complaints, the watchdog."""
