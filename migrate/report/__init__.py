"""What happened, for people and for programs. Reads values and the state; changes nothing."""
