"""slicebench: which slices of which volumes should be labelled?"""
