"""What the Prediction page is put together from."""
