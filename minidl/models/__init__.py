"""Layer 6, Model: layers put together so that they solve a task, and what others have put together."""
