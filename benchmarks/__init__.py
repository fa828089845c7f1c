"""What is measured, beside what the tests hold."""
