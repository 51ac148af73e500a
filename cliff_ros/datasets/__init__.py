"""Data sets as their authors lay them out: readers that give one person in one image at a time (`Sample`)."""
