"""The parts of the Responses page: its controls, the picture that is looked at, maps, the histogram, and files."""
