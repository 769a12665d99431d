"""The chat model that writes short prompts out, its training and its figures."""
