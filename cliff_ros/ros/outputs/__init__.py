"""What goes out: one file a message."""
