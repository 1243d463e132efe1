"""Everything is said in pyproject.toml; this only lets an editable installation (`pip install -e`) have data files, too.

setuptools copies the data files of an editable installation when its distribution answers `has_data`, and asks under
a name that no distribution has. A test looks whether the files arrived (tests/unit/test_lab_extension.py).
"""

from setuptools import Distribution, setup


class WithDataFiles(Distribution):
    def has_data(self) -> bool:
        return bool(self.data_files)


setup(distclass=WithDataFiles)
