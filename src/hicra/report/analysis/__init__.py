"""The figures of an analysis (`hicra.dynamics.analyze`), for the page and for papers."""
