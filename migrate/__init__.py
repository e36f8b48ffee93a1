"""rahti-migrate: move everything from an OKD 3.11 registry to OKD 4, checked byte for byte."""

__version__ = "0.1.0"
