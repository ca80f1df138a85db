"""What all sessions share."""
