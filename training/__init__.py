"""Programs that make the miniature checkpoint from nothing: world, tokenizer, VAE, diffusion."""
