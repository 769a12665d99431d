"""Prompts in files to pictures in storage: Ray Data pipelines over the stages of the service."""
