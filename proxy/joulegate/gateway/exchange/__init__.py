"""One request and its answer, from the choice of the upstream to the last byte."""
