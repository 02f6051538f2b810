"""For those who write the nets in another framework: reference values, and the usual mistakes."""
