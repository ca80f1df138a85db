"""One image or object in, one result out."""
