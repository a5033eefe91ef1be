"""The command line for the laptop and the pipeline. It is not deployed, and has no judgement of its own."""
