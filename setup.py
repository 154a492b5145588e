"""Lets tools that ask for a setup.py, such as Beam's --setup_file, package the project; pyproject.toml holds the rest."""

from setuptools import setup

setup()
