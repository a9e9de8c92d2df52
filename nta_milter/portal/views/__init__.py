"""The pages, one module each: a function takes a Visit and gives an answer."""
