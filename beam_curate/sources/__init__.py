"""The input: which videos there are, and which of them a run works on."""
