"""Sweeps: grids of points, measured in compiled blocks, stored as rows, resumed.

`grid` (axes and presets), `blocks` and `program` (one compiled vmapped block), `store` (parquet shards), `engine` (this
process) and `workers` (dask), `functions` (the public ``lab.sweep``: any function, no law needed).
"""
