"""The steps that bring a catalog's schema up to date; run by `vidsift db upgrade`."""
