"""What a project holds, for a first manifest: image streams, who uses them, who may pull."""
