"""The server around the pages: what every request goes through, how it begins, and how it is doing."""
