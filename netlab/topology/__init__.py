"""The topology file: models, loading with `file:line` errors, addressing. Pure but for reading the file.

Import from the modules: `models.Topology`, `load.load`, `addressing.addresses`, `schema.schema`.
"""
