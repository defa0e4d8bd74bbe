"""The grammars of the `.mkb` language and of the textual IR; nothing but grammars."""
