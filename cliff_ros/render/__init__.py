"""Pictures of people, on the CPU."""
