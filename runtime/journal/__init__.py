"""What makes a run survive its process: completed steps and effects, in one SQLite file."""
