"""Metadata of the package; the settings of the tools are in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = runpy.run_path(str(ROOT / 'mmqadapter' / 'version.py'))['__version__']
# pip builds onedl-mmcv without operators, which needs no compiler; ours step in.
ENGINE = ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'torchvision']
SEG = 'onedl-mmsegmentation>=1.4.2'
# Installed in mmqadapter/.mim, where mim and mmengine look. A clone has links to them there.
MIM = ('configs', 'tools', 'model-index.yml')


class BuildWithConfigs(build_py):
    """Build step that adds configs and tools to the package, however the build was started."""

    def run(self) -> None:
        """Build the package; an editable install uses the links of the clone."""
        super().run()
        if self.editable_mode:
            return
        shutil.rmtree(self._target, ignore_errors=True)
        for source, target in self._copies():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)  # with its mode: the launch scripts are executable

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the paths of all files that a build makes."""
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return [*outputs, *(str(target) for _, target in self._copies())]

    @property
    def _target(self) -> Path:
        return Path(self.build_lib, 'mmqadapter', '.mim')

    def _copies(self) -> list[tuple[Path, Path]]:
        """Return pairs of a file and its copy."""
        suffixes = ('.py', '.sh', '.yaml', '.yml')
        files = [file for name in MIM for file in (ROOT / name, *(ROOT / name).rglob('*'))]
        shipped = [file.relative_to(ROOT) for file in files if file.suffix in suffixes]
        return [(ROOT / file, self._target / file) for file in shipped if 'dev' not in file.parts]


setup(
    cmdclass={'build_py': BuildWithConfigs},
    name='mmqadapter',
    version=VERSION,
    description='Low-bit adapters for dense prediction: a plug-in of OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmqadapter authors',
    project_urls={
        'Paper (low-bit adapters)': 'https://arxiv.org/abs/2307.16867',
        'Paper (highway)': 'https://arxiv.org/abs/2306.09729',
    },
    keywords=(
        'adapter, parameter-efficient fine-tuning, quantization, object detection, '
        'instance segmentation, semantic segmentation, OpenMMLab, mmdetection, mmsegmentation'
    ),
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmqadapter', 'mmqadapter.*']),
    entry_points={'console_scripts': ['mmqadapter = mmqadapter.cli.main:main']},
    package_data={
        'mmqadapter': ['py.typed'],
        'mmqadapter.own_data': ['templates/*'],
        'mmqadapter.studies.report': ['templates/*'],
    },
    # No mm package here: the upstream and the onedl line share import names, and either works.
    install_requires=[
        'torch>=2.1',
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
        'det': [*ENGINE, 'onedl-mmdetection>=3.5.1', SEG],  # a ViT's neck is mmseg's
        'seg': [*ENGINE, SEG],
        'cls': [*ENGINE, 'onedl-mmpretrain>=1.3.6'],
        'onnx': ['onnx>=1.17', 'onnxscript>=0.3', 'onnxruntime>=1.20'],
        'ray': ['ray>=2.40'],
        'serve': ['gradio>=6.31'],
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
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
)
