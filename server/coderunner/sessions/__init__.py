"""One live session: its container, channels, attachments, files, deadlines. It knows of no other session."""
