"""The batch pipeline: prompts in files become pictures, drawn with Ray Data and our stages."""
