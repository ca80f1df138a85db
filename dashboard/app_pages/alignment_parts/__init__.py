"""What the Alignment page is put together from."""
