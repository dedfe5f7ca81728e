"""One live session: container, channels, attachments, files, deadlines.

Nothing here knows of other sessions."""
