# SPDX-License-Identifier: MIT
"""SIMULATOR: the programs that the simulated host has, each by the name it is called by."""
