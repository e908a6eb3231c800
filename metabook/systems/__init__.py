"""The lists of systems, one file a chapter; ``metabook.registry`` joins them."""
