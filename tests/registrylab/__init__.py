"""Real registries and honest images, for the demo, the tests and the benchmarks.

An independent witness: speaks to registries by itself and shares no code with the program.
"""
