"""The .proto files of the real systems, and their modules, made by `scripts/generate-protocols`."""
