"""The Match page's parts."""
