"""The command line and the config file: from arguments to checked options. Imports nothing heavy."""
