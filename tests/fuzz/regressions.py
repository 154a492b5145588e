"""Numbers of mutants that once broke something; see `mutator.mutant`."""

BROKE_SOMETHING = (
    43,  # time stamps that go back: the encoder refused them, and the failure counted as one that passes
)
