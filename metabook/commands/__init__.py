"""The commands of ``metabook``, one a file: ``add`` declares its arguments, ``run`` does it and returns the exit status."""
