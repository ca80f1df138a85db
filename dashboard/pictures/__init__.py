"""Real results of the pages, shown on Home; `python -m dashboard.pictures` makes them anew."""
