"""Where speech comes from, how it is prepared, and what training reads."""
