"""The checker of annotations at run time, for the option of jaxtyping.

python -m pytest --jaxtyping-packages=slicebench,tests.typecheck.check
"""

from beartype import BeartypeConf, beartype

# As PEP 484 and static checkers have it, an int may stand for a float.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
