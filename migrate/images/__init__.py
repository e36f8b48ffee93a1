"""The images stage: plan, copy, verify."""
