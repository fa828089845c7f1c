"""Compiled code for what torch has no one operation for: vector values (``lanes``), and gates (``gate``)."""
