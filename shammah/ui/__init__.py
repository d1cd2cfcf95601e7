"""What the user sees and types in the chat. Reaches the program through app and session only."""
