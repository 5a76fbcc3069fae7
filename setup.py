"""Metadata of the package; the settings of the tools are in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = runpy.run_path(str(ROOT / 'mmqadapter' / 'version.py'))['__version__']
ENGINE = ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'torchvision']

setup(
    name='mmqadapter',
    version=VERSION,
    description='Low-bit adapters for dense prediction: a plug-in of OpenMMLab',
    author='mmqadapter authors',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmqadapter', 'mmqadapter.*']),
    entry_points={'console_scripts': ['mmqadapter = mmqadapter.cli.main:main']},
    package_data={'mmqadapter': ['py.typed'], 'mmqadapter.studies.report': ['templates/*']},
    # No mm package here: the upstream and the onedl line share import names, and either works.
    install_requires=[
        'torch>=2.6',
        'jinja2',
        'matplotlib>=3.8',
        'numpy',
        'pillow',
        'pycocotools',
        'pyyaml',
        'rich',
        'safetensors>=0.4',
        'timm>=1.0',
    ],
    extras_require={
        'det': [*ENGINE, 'onedl-mmdetection>=3.5.1'],
        'seg': [*ENGINE, 'onedl-mmsegmentation>=1.4.2'],
        'onnx': ['onnx>=1.17', 'onnxscript>=0.3', 'onnxruntime>=1.20'],
        'ray': ['ray>=2.40'],
        'int8': ['torchao>=0.18'],
        'dev': [
            'atheris>=3.0; platform_system == "Linux" and python_version >= "3.11"',
            'codespell>=2.4',
            'hypothesis>=6.100',
            'mypy>=2.0',
            'onnx>=1.17',
            'onnxruntime>=1.20',
            'onnxscript>=0.3',
            'peft>=0.21',
            'playwright>=1.60',
            'pre-commit>=4.0',
            'pylint>=4.0',
            'pytest>=8.0',
            'pytest-xdist>=3.6',
            'ray>=2.40',
            'ruff>=0.17',
            'scipy>=1.11',
            'torchao>=0.18',
            'transformers>=4.53,<4.54',  # docs/compatibility.md
        ],
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
