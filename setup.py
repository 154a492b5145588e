"""For tools that want a setup.py, such as Beam's --setup_file; pyproject.toml holds the rest."""

from setuptools import setup

setup()
