"""Metadata and dependency ranges of rhonet; what `make` really installs is pinned in locks/."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent

# Installed side by side, as they lie here, so that code finds bundled crystals and released models in both places.
FOLDERS = ["rhonet", "tfds_builders", "saved_models"]

TENSORFLOW = ">=2.21,<2.22"

REQUIRES = [
    "apache-beam>=2.77,<3",
    "ase>=3.26",
    "h5py>=3.11",
    "importlib_resources>=6",  # needed by `tfds build`, which does not declare it
    "keras>=3.15,<4",
    "matplotlib>=3.9",
    "mlcroissant>=1.0",  # needed by every `tfds` command, which does not declare it
    "numpy>=2.0,<3",
    "pymatgen-core>=2026.7.16",
    "scikit-learn>=1.6",
    "scipy>=1.14",
    "spglib>=2.6",
    "tensorboard" + TENSORFLOW,  # TensorFlow writes summaries through it, but does not declare it
    "tensorflow-datasets>=4.9.10,<5",
    "threadpoolctl>=3.5",
    "tomli-w>=1.1",
    "tqdm>=4.67",
]

EXTRAS = {
    "cpu": ["tensorflow-cpu" + TENSORFLOW],
    "gpu": ["tensorflow[and-cuda]" + TENSORFLOW],
    # python -m rhonet.export --onnx and --triton, python -m rhonet.predict --server
    "export": [
        "onnx>=1.20",
        "onnxruntime>=1.24",
        "protobuf>=6.30",
        "tf2onnx>=1.17",
        "tritonclient[grpc,http]>=2.73",
    ],
    "test": [
        "dill>=0.4",
        "hypothesis>=6.100",
        "monty>=2025.1",
        "packaging>=24",
        "pillow>=11",
        "pytest>=9,<9.2",  # under 9.2, pytest-xdist 3.8 does not keep groups of tests together
        "pytest-cov>=7",
        "pytest-xdist>=3.6",
        "pyyaml>=6",
    ],
    "gpaw": ["gpaw>=25.1"],  # reads .gpw files; needs a C compiler
    "fuzz": ["atheris>=3"],  # tools/fuzz_formats.py
    "bench": ["mp-pyrho>=0.5.2"],
    # tools/download_materials_project.py; mp-api brings the others, which are imported by name as well
    "mp": [
        "boto3>=1.35",
        "botocore>=1.35",
        "deltalake>=1.4",
        "emmet-core>=0.87",
        "mp-api>=0.46",
        "pyarrow>=20",
        "requests>=2.32",
        "urllib3>=2.2",
    ],
    "dev": ["pyright[nodejs]>=1.1.414", "ruff>=0.17"],
}


def version() -> str:
    """Version of the package, read without importing it."""
    text = (HERE / "rhonet" / "__init__.py").read_text(encoding="utf-8")
    return text.partition('__version__ = "')[2].partition('"')[0]


# The build front end runs this file as a script; tests read the tables above without building anything.
if __name__ == "__main__":
    setup(
        name="rhonet",
        version=version(),
        description="Material properties from one physical field, the electron density",
        long_description=(HERE / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        author="The rhonet authors",
        license="MIT",
        license_files=["LICENSE"],
        keywords=["electron density", "DFT", "CHGCAR", "materials", "deep learning"],
        classifiers=[
            "Development Status :: 4 - Beta",
            "Intended Audience :: Science/Research",
            "Operating System :: POSIX :: Linux",
            "Programming Language :: Python :: 3.11",
            "Programming Language :: Python :: 3.12",
            "Programming Language :: Python :: 3.13",
            "Topic :: Scientific/Engineering :: Chemistry",
            "Topic :: Scientific/Engineering :: Physics",
        ],
        python_requires=">=3.11,<3.14",
        install_requires=REQUIRES,
        extras_require=EXTRAS,
        packages=find_namespace_packages(include=[f"{name}{tail}" for name in FOLDERS for tail in ("", ".*")]),
        include_package_data=True,  # configurations, bundled densities, models: see MANIFEST.in
    )
