"""What an exported model costs and keeps: its quality beside that of its Keras model, its speed, size and memory."""
