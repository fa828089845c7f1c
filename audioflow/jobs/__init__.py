"""What each verb of the command does, callable from Python: synthesis of files, scoring, inspection, the demo."""
