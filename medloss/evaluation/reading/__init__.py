"""Images out of files: a format a module, one record out of all of them."""
