"""The GPU put to the test: every kernel compiled, checked, and measured beside the vendor's libraries.

`cases` has every CUDA function with arguments and what it must return, `inventory` looks at kernels where
there is no GPU, `race` times them where there is one, `training` trains there, and `command` does it all.
"""
