"""The recorded studies: what `make results` runs, one function for each, called with the parameters of one cell.

A live control and the test that runs a sampled cell again call the same functions, so what is recorded and what a reader
computes are the same thing. Chapters read the results with `tl_helpers.book.results.load`; `catalogue` lists all studies.
"""
