"""One file per page: controls, one task or experiment, figures."""
