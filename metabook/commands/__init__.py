"""The commands of ``metabook``, one a file: ``add`` declares the arguments, ``run`` returns the exit status."""
