"""The front end: text to syntax tree to checked flow IR, the formatter, and the driver."""
