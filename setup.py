"""Builds the native module with CMake; all metadata is in pyproject.toml. Needs no torch and no network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent.resolve()


class CMakeBuild(build_ext):
    """Configure and build ``chordfast._C``; see CONTRIBUTING.md for the environment variables read here."""

    def build_extension(self, ext: Extension) -> None:
        in_source = self.inplace or getattr(self, "editable_mode", False)
        target = HERE / "chordfast" if in_source else Path(self.get_ext_fullpath(ext.name)).parent.resolve()
        tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
        build = Path(os.environ.get("CHORDFAST_BUILD_DIR", HERE / "build" / tag))
        build.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake", "-S", str(HERE), "-B", str(build), "-G", "Ninja",
            f"-DCMAKE_BUILD_TYPE={os.environ.get('CHORDFAST_BUILD_TYPE', 'Release')}",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DCHORDFAST_CUDA={os.environ.get('CHORDFAST_CUDA', 'AUTO')}",
            # _simt is for tests, which run in the source folder.
            f"-DCHORDFAST_SIMT={os.environ.get('CHORDFAST_SIMT', 'AUTO' if in_source else 'OFF')}",
        ]  # fmt: skip
        if os.environ.get("CHORDFAST_WERROR") == "1":
            configure.append("-DCHORDFAST_WERROR=ON")
        # Build isolation deletes its ninja afterwards; a cached path to it would break the next build.
        if ninja := shutil.which("ninja"):
            configure.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
        if archs := os.environ.get("CHORDFAST_CUDA_ARCHS"):
            configure.append(f"-DCHORDFAST_CUDA_ARCHS={archs}")
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(build)], check=True)

    def copy_extensions_to_source(self) -> None:
        """CMake already wrote there."""


setup(ext_modules=[Extension("chordfast._C", sources=[])], cmdclass={"build_ext": CMakeBuild})
