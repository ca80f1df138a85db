"""Where pictures and their records come from: one module a source."""
