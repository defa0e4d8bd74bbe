"""What prompts hold, what calls share of them, and how they are laid out and put together."""
