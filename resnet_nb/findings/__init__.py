"""What follows from records and published numbers, by arithmetic and statistics; nothing here imports torch."""
