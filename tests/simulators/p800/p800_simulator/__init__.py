# SPDX-License-Identifier: MIT
"""SIMULATOR: shows a host without Kunlunxin hardware as one with P800 XPUs and RDMA adapters. For tests only.

Standard library only, valid on Python 3.8. What is simulated, and from which source each form of output comes: tests/simulators/README.md.
"""
