"""How good a vocoder is: likelihood, distances, speed, baselines, and a report that can be heard."""
