"""The ``cosmiq-astro`` command."""
