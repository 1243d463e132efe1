"""The book's own furniture, which a reader's project does not need: claims, controls, exercises, recorded grids."""
